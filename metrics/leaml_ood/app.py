"""The metric as a Space: a table in, figures with intervals and two plots out.

python app.py
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from leaml_ood import INPUTS, LeamlOod, judge_answers, reliability_bins, risk_coverage_curve

if TYPE_CHECKING:
    import gradio as gr
    from matplotlib.figure import Figure

MAX_ROWS = 20_000
COLUMNS = {"prediction": "predictions", "reference": "references", "confidence": "confidences",
           "ood_score": "ood_scores", "ood_label": "ood_labels"}  # fmt: skip
EXAMPLE = pd.DataFrame(
    [
        ["12", "12.5", 0.70, 0.10, 0], ["red", "red", 0.95, 0.05, 0], ["seven", "7", 0.90, 0.20, 0],
        ["no", "yes", 0.55, 0.30, 0], ["3", "3", 0.85, 0.15, 0], ["blue", "green", 0.40, 0.60, 1],
        ["yes", "yes", 0.60, 0.45, 1], ["9", "4", 0.30, 0.90, 1], ["left", "right", 0.65, 0.25, 1],
        ["2", "2", 0.50, 0.70, 1],
    ],
    columns=list(COLUMNS),
)  # fmt: skip


def read_inputs(table: pd.DataFrame) -> dict[str, Any]:
    """The columns of a table that the metric knows, by its names or in the singular; empty columns are left out."""
    names = {name: COLUMNS.get(name, name) for name in map(str, table.columns)}
    table = table.rename(columns=names).replace("", None)
    if len(table) > MAX_ROWS:
        raise ValueError(f"Give at most {MAX_ROWS:,} rows here; use the metric in Python for more.")
    inputs = {}
    for name in INPUTS:
        if name not in table or table[name].isna().all():
            continue
        column = table[name]
        if name in ("predictions", "references"):
            inputs[name] = column.fillna("").astype(str).tolist()
        else:
            inputs[name] = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    return inputs


def judge(
    file: str | None, table: pd.DataFrame, tolerance: float, bins: int, tpr: float, resamples: int
) -> tuple[pd.DataFrame, "Figure | None"]:
    """Figures as a table, and plots where there are confidences.

    Args:
        file (`str`, *optional*): a CSV file; without one the table counts.
        table (`pd.DataFrame`): columns as in `EXAMPLE`.
        tolerance (`float`): relative error that numbers may have; 0 for none.
        bins (`int`): bins of the calibration errors.
        tpr (`float`): for the false-positive rate.
        resamples (`int`): of the bootstrap; 0 for no intervals.

    Returns:
        `tuple[pd.DataFrame, Figure]`: rows of figure, value, low, high; and the plots.
    """
    inputs = read_inputs(pd.read_csv(file, keep_default_na=False, dtype=str) if file else table)
    tolerance = tolerance or None
    results = LeamlOod().compute(**inputs, tolerance=tolerance, bins=int(bins), tpr=tpr, resamples=int(resamples))
    rows = [[name, value, *results.get(f"{name}_ci", [None, None])]
            for name, value in results.items() if not name.endswith("_ci")]  # fmt: skip
    figures = pd.DataFrame(rows, columns=["figure", "value", "low", "high"]).round(4)
    if not {"predictions", "references", "confidences"} <= inputs.keys():
        return figures, None
    correct = judge_answers(inputs["predictions"], inputs["references"], tolerance)
    return figures, plot(inputs["confidences"], correct, int(bins))


def plot(confidence: np.ndarray, correct: np.ndarray, bins: int) -> "Figure":
    """Reliability diagram and risk-coverage curve side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    table = reliability_bins(confidence, correct, bins)
    left.plot([0, 1], [0, 1], color="#66727f", linestyle="--", linewidth=1)
    left.scatter(table["confidence"], table["accuracy"], s=20 + 180 * table["count"] / len(correct), color="#2457c5")
    left.set(xlabel="Confidence", ylabel="Share of right answers", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    left.set_title("Calibration")
    coverage, risk = risk_coverage_curve(confidence, correct)
    shown = np.unique(np.linspace(0, len(risk) - 1, 500).astype(int))
    right.plot(coverage[shown], risk[shown], color="#2457c5")
    right.set(
        xlabel="Share of questions answered", ylabel="Share of wrong answers", xlim=(0, 1.02), ylim=(-0.02, 1.02)
    )
    right.set_title("Abstention")
    return figure


def build() -> "gr.Blocks":
    """The page."""
    import gradio as gr

    def run(*values: Any) -> tuple[pd.DataFrame, "Figure | None"]:
        try:
            return judge(*values)
        except (ValueError, pd.errors.ParserError) as error:
            raise gr.Error(str(error)) from error

    with gr.Blocks(title="LEAML OOD") as page:
        gr.Markdown(
            "# Does your model know when it doesn't know?\n"
            "One row an answer. Leave out (or empty) the columns that you do not have: predictions and references "
            "give the accuracy, confidences add calibration and abstention, OOD scores and labels (1 = out of "
            "distribution) the detection figures."
        )
        with gr.Row():
            with gr.Column():
                table = gr.Dataframe(EXAMPLE, interactive=True, type="pandas", label="Rows", max_height=420)
                file = gr.File(label="or a CSV file with these columns", file_types=[".csv"], height=120)
                with gr.Row():
                    tolerance = gr.Number(0.05, label="Tolerance for numbers", minimum=0, maximum=1, step=0.01)
                    bins = gr.Number(15, label="Bins", minimum=1, maximum=1000, precision=0)
                    tpr = gr.Number(0.95, label="TPR", minimum=0.01, maximum=1, step=0.01)
                    resamples = gr.Number(1000, label="Bootstrap resamples", minimum=0, maximum=2000, precision=0)
                button = gr.Button("Judge", variant="primary")
            with gr.Column():
                figures = gr.Dataframe(headers=["figure", "value", "low", "high"], interactive=False, label="Figures",
                                       max_height=560)  # fmt: skip
                plots = gr.Plot(show_label=False)
        button.click(run, [file, table, tolerance, bins, tpr, resamples], [figures, plots])
    return page


if __name__ == "__main__":
    build().launch()
