"""Capacity and sensitivity from change detection: k, d′ and filtering cost with bootstrap intervals.

Say "k-like" of a model: it sees both arrays at once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from ..errors import LeamlInputError


def cowan_k(set_size: float, hit_rate: float, false_alarm_rate: float) -> float:
    """Capacity by the single-probe form (Cowan 2001): k = N (H - FA); `set_size` N, rates in [0, 1]."""
    return set_size * (hit_rate - false_alarm_rate)


def pashler_k(set_size: float, hit_rate: float, false_alarm_rate: float) -> float:
    """Capacity by the whole-display form (Pashler 1988): k = N (H - FA) / (1 - FA); NaN where FA is 1."""
    if false_alarm_rate >= 1:
        return float("nan")
    return set_size * (hit_rate - false_alarm_rate) / (1 - false_alarm_rate)


FORMULAS: dict[str, Callable[[float, float, float], float]] = {"single_probe": cowan_k, "whole_display": pashler_k}


def d_prime(hits: int, changes: int, false_alarms: int, no_changes: int) -> float:
    """
    Sensitivity d′ with the log-linear correction (Hautus 1995), which is finite at rates of 0 and 1.

    Args:
        hits (`int`): "changed" said of trials with a change.
        changes (`int`): trials with a change, 1 or more.
        false_alarms (`int`): "changed" said of trials without.
        no_changes (`int`): trials without a change, 1 or more.

    Returns:
        `float`: z(H) - z(FA).
    """
    hit_rate = (hits + 0.5) / (changes + 1)
    false_alarm_rate = (false_alarms + 0.5) / (no_changes + 1)
    return float(norm.ppf(hit_rate) - norm.ppf(false_alarm_rate))


def change_detection(
    changed: Sequence[bool],
    said_changed: Sequence[bool],
    set_sizes: Sequence[int],
    distractors: Sequence[int],
    form: str,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """
    Capacity and sensitivity per cell of set size and distractors, and the filtering cost.

    Args:
        changed (`Sequence[bool]`): `[n]` whether a trial had a change.
        said_changed (`Sequence[bool]`): `[n]` whether the answer was that it had.
        set_sizes (`Sequence[int]`): `[n]` items that count, 1 or more.
        distractors (`Sequence[int]`): `[n]` items that do not.
        form (`str`): "single_probe" (Cowan's k) or "whole_display" (Pashler's k).
        num_bootstrap (`int`, *optional*, defaults to 2000): resamples of trials within each cell and kind of trial.
        seed (`int`, *optional*, defaults to 0): of the resampling.

    Returns:
        `dict`: `form`; `cells`, a list of `set_size, distractors, trials, hit_rate, false_alarm_rate, k,
        k_interval, d_prime`; `k` and `k_interval`: the mean over set sizes without distractors (over all cells where
        every cell has some); and `filtering_cost`, for each other number of distractors the loss of mean k against
        none at the same set sizes, with its 95% interval.

    Raises:
        [`LeamlInputError`]: if the lists differ in length, the form is unknown, or a cell lacks trials of one kind.
    """
    if form not in FORMULAS:
        raise LeamlInputError(f"There is no form '{form}'; choose one of {', '.join(FORMULAS)}.")
    columns = [np.asarray(column) for column in (changed, said_changed, set_sizes, distractors)]
    if len({len(column) for column in columns}) != 1 or len(columns[0]) == 0:
        raise LeamlInputError("Give changed, said_changed, set_sizes and distractors as lists of one length.")
    changed, said, sizes, loads = columns[0].astype(bool), columns[1].astype(bool), columns[2], columns[3]
    rng = np.random.default_rng(seed)
    cells, resampled = [], {}
    for size, load in sorted(set(zip(sizes.tolist(), loads.tolist(), strict=True))):
        here = (sizes == size) & (loads == load)
        told, missed = said[here & changed], said[here & ~changed]
        if not len(told) or not len(missed):
            kind = "without" if len(told) else "with"
            raise LeamlInputError(f"The cell of {size} items and {load} distractors has no trial {kind} a change; "
                                  "both kinds are needed.")  # fmt: skip
        hit_rates = rng.binomial(len(told), told.mean(), num_bootstrap) / len(told)
        alarm_rates = rng.binomial(len(missed), missed.mean(), num_bootstrap) / len(missed)
        formula = FORMULAS[form]
        resampled[size, load] = np.array([formula(size, h, f) for h, f in zip(hit_rates, alarm_rates, strict=True)])
        cells.append({
            "set_size": size, "distractors": load, "trials": int(here.sum()), "hit_rate": float(told.mean()),
            "false_alarm_rate": float(missed.mean()), "k": formula(size, float(told.mean()), float(missed.mean())),
            "k_interval": _interval(resampled[size, load]),
            "d_prime": d_prime(int(told.sum()), len(told), int(missed.sum()), len(missed)),
        })  # fmt: skip
    k = {(cell["set_size"], cell["distractors"]): cell["k"] for cell in cells}
    plain = [key for key in k if key[1] == 0] or list(k)
    costs = {}
    for load in sorted({load for _, load in k} - {0}):
        shared = [size for size, other in k if other == load and (size, 0) in k]
        if shared:
            lost = np.mean([resampled[size, 0] - resampled[size, load] for size in shared], axis=0)
            mean = float(np.mean([k[size, 0] - k[size, load] for size in shared]))
            costs[str(load)] = {"cost": mean, "interval": _interval(lost)}
    return {
        "form": form,
        "cells": cells,
        "k": float(np.mean([k[key] for key in plain])),
        "k_interval": _interval(np.mean([resampled[key] for key in plain], axis=0)),
        "filtering_cost": costs,
    }


def _interval(values: np.ndarray) -> list[float]:
    """Middle 95%, resamples without a value left out."""
    return [float(value) for value in np.nanquantile(values, (0.025, 0.975))]
