"""The metrics against torchmetrics, netcal and scikit-learn at 1,000,000 rows, side by side in one run.

    pip install -e ".[bench]"
    .venv/bin/python benchmarks/metrics.py

Each pair gets the same rows in the form it likes: torch tensors for torchmetrics (float64, with and without its checks
of the inputs), arrays for the others. They take turns, so that a busy machine slows both; the times given are medians,
the ratio is the median of the rounds' ratios: above 1 ours is faster. Rows: `random` (all values distinct) and `tied`
(101 distinct values). The figures agree to rounding (torchmetrics sums in float32); bins of equal mass differ with
ties, which ours never split. Prints a table, or with --json one line for machines.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from netcal.metrics import ECE
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
    binary_specificity_at_sensitivity,
)

from leaml_hf.evaluation import metrics

BINS = 15


def sample(n: int, tied: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and outcomes that follow them, somewhat overconfident."""
    generator = np.random.default_rng(seed)
    probability = generator.random(n)
    if tied:
        probability = np.round(probability, 2)
    return probability, (generator.random(n) < 0.8 * probability + 0.1).astype(np.int64)


def contests(probability: np.ndarray, hit: np.ndarray) -> dict[str, tuple[Callable[[], float], Callable[[], float]]]:
    """Ours and theirs by name. For `fpr_at_tpr` in-distribution rows are positive."""
    score, target, inside = torch.from_numpy(probability), torch.from_numpy(hit), torch.from_numpy(1 - hit)
    pairs = {
        "auroc / scikit-learn": (metrics.auroc, lambda: roc_auc_score(hit, probability)),
        "auprc / scikit-learn": (metrics.auprc, lambda: average_precision_score(hit, probability)),
        "brier / scikit-learn": (metrics.brier, lambda: brier_score_loss(hit, probability)),
        "nll / scikit-learn": (metrics.nll, lambda: log_loss(hit, np.clip(probability, 1e-6, 1 - 1e-6))),
        "ece / netcal": (lambda p, h: metrics.ece(p, h, BINS), lambda: ECE(BINS).measure(probability, hit)),
        "ece of equal mass / netcal": (
            lambda p, h: metrics.ece(p, h, BINS, "mass"),
            lambda: ECE(BINS, equal_intervals=False).measure(probability, hit),
        ),
    }
    for checks, name in ((True, "torchmetrics"), (False, "torchmetrics, unchecked")):
        pairs |= {
            f"auroc / {name}": (metrics.auroc, lambda c=checks: binary_auroc(score, target, validate_args=c)),
            f"auprc / {name}": (
                metrics.auprc,
                lambda c=checks: binary_average_precision(score, target, validate_args=c),
            ),
            f"fpr_at_tpr / {name}": (
                metrics.fpr_at_tpr,
                lambda c=checks: 1 - binary_specificity_at_sensitivity(1 - score, inside, 0.95, validate_args=c)[0],
            ),
            f"ece / {name}": (
                lambda p, h: metrics.ece(p, h, BINS),
                lambda c=checks: binary_calibration_error(score, target, BINS, validate_args=c),
            ),
        }
    return {name: (lambda ours=ours: ours(probability, hit), theirs) for name, (ours, theirs) in sorted(pairs.items())}


def timed(call: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    value = float(call())
    return time.perf_counter() - start, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    results = []
    for kind in ("random", "tied"):
        for name, (ours, theirs) in contests(*sample(options.rows, kind == "tied")).items():
            rounds = [(timed(ours), timed(theirs)) for _ in range(options.rounds + 1)][1:]  # the first one warms up
            (_, our_value), (_, their_value) = rounds[0]
            results.append(
                {
                    "metric": name,
                    "rows": kind,
                    "ours_ms": 1000 * statistics.median(mine for (mine, _), _ in rounds),
                    "theirs_ms": 1000 * statistics.median(other for _, (other, _) in rounds),
                    "ratio": statistics.median(other / mine for (mine, _), (other, _) in rounds),
                    "difference": abs(our_value - their_value),
                }
            )
    if options.json:
        print(json.dumps(results))
        return
    print(f"{options.rows:,} rows")
    print(f"{'metric':36} {'rows':7} {'ours ms':>9} {'theirs ms':>10} {'ratio':>7} {'difference':>11}")
    for row in results:
        print(f"{row['metric']:36} {row['rows']:7} {row['ours_ms']:9.1f} {row['theirs_ms']:10.1f} {row['ratio']:7.1f}"
              f" {row['difference']:11.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
