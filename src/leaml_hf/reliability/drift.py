"""
Does a stream of pictures still look like the pictures that a model knows? Two-sample tests on states.

[`DriftMonitor`] watches row by row, with a false-alarm rate that holds however often one looks; [`energy_test`]
compares two whole samples once.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LeamlInputError
from ..files import damaged, read_bytes
from .ood import Mahalanobis, state_array

FORMAT = 1
HEADER = "leaml_drift"  # the entry of the file's header that holds the options
ARRAYS = ("reference", "known", "capital")  # beside those of the distance
LEAST_ROWS = 20  # of a reference: below it no rank is low enough to be told from chance
RANKED_AT_ONCE = 256  # rows
# Densities on [0, 1] that are bets on where p-values will lie once the stream has drifted: Beta(a, b) for both ends,
# weakly and strongly, for both at once, and for the middle.
BETS = np.array([(0.3, 1), (0.7, 1), (1, 0.3), (1, 0.7), (0.5, 0.5), (2, 2)])  # [K, 2]


def _log_bets(p: np.ndarray) -> np.ndarray:
    """Logarithms `[n, C, K]` of the bets' densities at p-values `[n, C]` in (0, 1)."""
    from scipy.special import betaln

    a, b = BETS.T  # [K]
    p = p[..., None]
    return (a - 1) * np.log(p) + (b - 1) * np.log1p(-p) - betaln(a, b)


def _rows(states: Any, name: str) -> np.ndarray:
    """`[n, D]` float64 of an array or tensor `[n, D]` or `[n]`, checked."""
    states = states if hasattr(states, "detach") else np.asarray(states)
    return state_array({name: states[:, None] if states.ndim == 1 else states}, name).astype(np.float64)


@dataclass
class DriftReport:
    """
    What a monitor knows after an update.

    Args:
        rows (`int`): rows seen since the fit or the last restart.
        evidence (`np.ndarray`): `[b]` natural logarithm of the evidence after each row of this update.
        threshold (`float`): the evidence at which the alarm is given, on the same scale.
        alarm_row (`int`, *optional*): the row (from 1) at which it was first given; `None` if it was not.
        channel (`str`): where most of the evidence is: `"direction 0"` (a leading direction of the reference),
            `"distance"` (from the reference as a whole) or `"column 0"`.
    """

    rows: int
    evidence: np.ndarray
    threshold: float
    alarm_row: int | None
    channel: str

    @property
    def alarm(self) -> bool:
        """Whether the alarm was given, in this update or before."""
        return self.alarm_row is not None


class DriftMonitor:
    """
    Sequential two-sample test: is a stream of states like a reference sample?

    Each row is reduced to a few channels: its coordinates along the leading directions of the reference and its
    distance from it ([`Mahalanobis`]), as in multivariate process control (Jackson and Mudholkar, 1979, Technometrics
    21), or, where there are few columns, such as out-of-distribution scores, the columns themselves. In each channel
    a row's smoothed rank among the reference and all rows of the stream so far is a conformal p-value. As long as
    reference and stream are exchangeable, p-values of a channel are independent and uniform, whatever the distribution
    of the states (Vovk, Nouretdinov and Gammerman, 2003, "Testing Exchangeability On-Line"), so fair bets on where
    they will lie cannot be expected to gain: their capital is the evidence. Bets are placed from every row on, since
    nobody knows when a drift begins.

    - With `horizon=None`, the bets that start at row n have 1 / (n (n + 1)) of the capital. The whole is a martingale
      that starts at 1, so the chance that it *ever* reaches 1 / `false_alarm` is at most `false_alarm` (Ville's
      inequality; Ramdas et al., 2023, https://arxiv.org/abs/2210.01948). A drift after a long quiet time takes longer
      to see.
    - With a `horizon`, new capital of 1 is put in at every row (Shiryaev and Roberts' procedure; with bets, an
      e-detector: Shin, Ramdas and Rinaldo, 2024, https://arxiv.org/abs/2203.03532). The alarm is given at `horizon` /
      `false_alarm`: with a chance of at most `false_alarm` in the first `horizon` rows, by Doob's inequality, and on
      average not before row `horizon` / `false_alarm`.

    Both bounds hold exactly if the rows are exchangeable: reference rows must be held out from whatever made the
    states or scores (neither trained on nor used to fit the scores), and several rows about one picture are not
    independent: give one a picture. The parts of an out-of-distribution score side by side (`components` of
    [`OODCombiner`], as columns) showed a drift sooner than their mean, and than states whose directions have to be
    learnt. That an alarm is real does not say that answers get worse.

    Memory: 8 bytes a row and channel, as the ranks need all rows.

    Args:
        false_alarm (`float`, *optional*, defaults to 0.01): the chance of a false alarm, in (0, 1).
        horizon (`int`, *optional*): the rows that this chance is for, 1 or more; by default the whole stream.
        directions (`int`, *optional*, defaults to 8): leading directions watched, 1 or more. States with no more
            columns than that are watched column by column.
        seed (`int`, *optional*, defaults to 0): of the division of the reference and of ties in ranks.
    """

    def __init__(self, false_alarm: float = 0.01, horizon: int | None = None, directions: int = 8, seed: int = 0):
        if not 0 < false_alarm < 1 or (horizon is not None and horizon < 1) or directions < 1:
            raise LeamlInputError("Give `false_alarm` between 0 and 1, and `horizon` (or None) and `directions` of 1 "
                                  f"or more, not {false_alarm}, {horizon} and {directions}.")  # fmt: skip
        self.false_alarm = false_alarm
        self.horizon = horizon
        self.directions = directions
        self.seed = seed
        self.width: int | None = None
        self.distance: Mahalanobis | None = None  # None where columns are watched
        self.reference: np.ndarray | None = None  # [m, C], each column sorted

    @property
    def threshold(self) -> float:
        """Natural logarithm of the evidence at which the alarm is given."""
        return float(np.log((self.horizon or 1) / self.false_alarm))

    def fit(self, states: Any) -> "DriftMonitor":
        """
        Takes the reference sample.

        Args:
            states (`np.ndarray` or `torch.Tensor`): `[n, D]` states or `[n]` scores of in-distribution rows, 20 or
                more. With more than `directions` columns, half of them give the directions and half the ranks, so 40
                or more. More make an alarm come sooner; with 200, a drift of one standard deviation takes 20 to 50.

        Returns:
            [`DriftMonitor`]: itself.

        Raises:
            [`LeamlInputError`]: if there are too few rows, or they are not finite numbers.
        """
        rows = _rows(states, "reference")
        self.width = rows.shape[1]
        learn = self.width > self.directions
        if len(rows) < LEAST_ROWS * (1 + learn):
            raise LeamlInputError(f"Give a reference of {LEAST_ROWS * (1 + learn)} rows or more, not {len(rows)}.")
        self.distance = None
        if learn:
            rows = rows[np.random.default_rng([self.seed, 1]).permutation(len(rows))]
            first, rows = np.array_split(rows, 2)
            self.distance = Mahalanobis("states", normalize=False).fit({"states": first})
        self.reference = np.sort(self._channels(rows), axis=0)
        return self.restart()

    def restart(self) -> "DriftMonitor":
        """Forgets the stream, as after an alarm that was looked into; the reference stays."""
        self._check_fitted()
        self.rows = 0
        self.alarm_row: int | None = None
        self.known = self.reference  # [m + rows, C], each column sorted
        self.capital = np.full((self.reference.shape[1], len(BETS)), -np.inf)  # logarithms, of bets placed so far
        self._rng = np.random.default_rng([self.seed, 2])
        return self

    def update(self, states: Any) -> DriftReport:
        """
        Takes the next rows of the stream; the same in one batch or row by row.

        Args:
            states (`np.ndarray` or `torch.Tensor`): `[b, D]` or `[b]`, of the kind of the reference.

        Returns:
            [`DriftReport`]: after an alarm, evidence goes on to be gathered, and `alarm_row` stays, until `restart`.

        Raises:
            [`LeamlInputError`]: if there is no reference yet, or the states have another width or hold NaN.
        """
        self._check_fitted()
        rows = _rows(states, "stream")
        if rows.shape[1] != self.width:
            raise LeamlInputError(f"Give states of width {self.width}, as the reference has, not {rows.shape[1]}.")
        values = self._channels(rows)  # [b, C]
        log_bets = _log_bets(self._p_values(values))  # [b, C, K]
        number = self.rows + np.arange(1, len(rows) + 1)
        # Capital of a bet after row n, from S_n = the sum of its logarithms so far: exp(S_n) times the sum over the
        # rows j at which part of it was put in of that part times exp(-S_{j-1}).
        placed = -np.log(number * (number + 1.0)) if self.horizon is None else np.zeros(len(rows))
        placed = placed - np.log(self.capital.size)
        total = np.cumsum(log_bets, axis=0)
        put_in = np.logaddexp.accumulate(placed[:, None, None] - (total - log_bets), axis=0)
        capital = total + np.logaddexp(self.capital, put_in)  # [b, C, K]
        evidence = np.logaddexp.reduce(capital.reshape(len(rows), -1), axis=1)
        if self.horizon is None:
            evidence = np.logaddexp(evidence, -np.log(number + 1.0))  # what is kept for later starts
        above = np.flatnonzero(evidence >= self.threshold)
        if self.alarm_row is None and len(above):
            self.alarm_row = int(number[above[0]])
        self.capital = capital[-1]
        self.rows += len(rows)
        return DriftReport(self.rows, evidence, self.threshold, self.alarm_row, self._leading_channel())

    def _channels(self, rows: np.ndarray) -> np.ndarray:
        """`[n, D]` states to `[n, C]` channels."""
        if self.distance is None:
            return rows
        leading = np.argsort(self.distance.precisions[:-1])[: self.directions]
        along = (rows - self.distance.mean) @ self.distance.directions[leading].T  # [n, k]
        return np.column_stack([along, self.distance.score({"states": rows})])

    def _p_values(self, values: np.ndarray) -> np.ndarray:
        """Smoothed ranks `[b, C]` in (0, 1), low for high values: among what is known and the rows before each."""
        p = np.empty(values.shape)
        for start in range(0, len(values), RANKED_AT_ONCE):
            part = values[start : start + RANKED_AT_ONCE]  # [b, C]
            before = np.tri(len(part), k=-1, dtype=bool)  # [b, b]: of row i, the rows j < i
            ranks = np.empty((2, *part.shape))
            for channel, (known, new) in enumerate(zip(self.known.T, part.T, strict=True)):
                for side, rank, earlier in zip(("left", "right"), ranks, (np.less, np.less_equal), strict=True):
                    rank[:, channel] = np.searchsorted(known, new, side)
                    rank[:, channel] += (before & earlier(new[None], new[:, None])).sum(1)
            below, up_to = ranks
            count = len(self.known) + np.arange(len(part))[:, None]  # known before each row
            smoothing = self._rng.random(part.shape) * (up_to - below + 1)
            p[start : start + RANKED_AT_ONCE] = (count - up_to + smoothing) / (count + 1)
            self.known = np.sort(np.concatenate([self.known, part]), axis=0)
        return np.clip(p, 1e-12, 1 - 1e-12)

    def _leading_channel(self) -> str:
        leading = int(np.argmax(np.logaddexp.reduce(self.capital, axis=1)))
        if self.distance is None:
            return f"column {leading}"
        return "distance" if leading == len(self.capital) - 1 else f"direction {leading}"

    def _check_fitted(self) -> None:
        if self.reference is None:
            raise LeamlInputError("Fit the drift monitor on in-distribution states first.")

    def save(self, path: str | Path) -> None:
        """
        Writes reference and stream so far into one safetensors file, options as JSON in its header.

        Args:
            path (`str` or `Path`): the file, such as `leaml_drift.safetensors`.
        """
        from safetensors.numpy import save_file

        self._check_fitted()
        config = {
            "format": FORMAT, "false_alarm": self.false_alarm, "horizon": self.horizon, "directions": self.directions,
            "seed": self.seed, "width": self.width, "rows": self.rows, "alarm_row": self.alarm_row,
        }  # fmt: skip
        arrays = {name: getattr(self, name) for name in ARRAYS}
        arrays |= self.distance.state_dict() if self.distance else {}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, path, metadata={HEADER: json.dumps(config)})

    @classmethod
    def load(cls, path: str | Path) -> "DriftMonitor":
        """
        Reads what `save` wrote, and goes on where that monitor was.

        Args:
            path (`str` or `Path`): the file.

        Returns:
            [`DriftMonitor`]: its next reports are those that the saved one would give.

        Raises:
            [`LeamlInputError`]: if the file is missing, damaged, no drift monitor, or of another format.
        """
        from safetensors import SafetensorError, safe_open
        from safetensors.numpy import load

        if not Path(path).is_file():
            raise LeamlInputError(f"There is no drift monitor {path}: check the path.")
        try:
            with safe_open(path, framework="np") as file:
                header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            if header.pop("format", None) != FORMAT:
                raise LeamlInputError(f"{path} holds no drift monitor that this version reads: save it again.")
            return cls._restored(header, load(read_bytes(Path(path))))
        except LeamlInputError:
            raise
        except (SafetensorError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise damaged(Path(path)) from error

    @classmethod
    def _restored(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> "DriftMonitor":
        """A monitor from the header and the arrays of a file; any error here means that they do not go together."""
        learnt = Mahalanobis.arrays if config["width"] > config["directions"] else ()
        width, rows, alarm_row = (config.pop(name) for name in ("width", "rows", "alarm_row"))
        monitor = cls(**config)
        monitor.reference = arrays["reference"]
        monitor.restart()
        monitor.width, monitor.rows, monitor.alarm_row = width, rows, alarm_row
        monitor.known, monitor.capital = arrays["known"], arrays["capital"]
        if learnt:
            monitor.distance = Mahalanobis("states", normalize=False)
            monitor.distance.load_state_dict({name: arrays[name] for name in learnt})
        monitor._rng.bit_generator.advance(rows * monitor.reference.shape[1])
        return monitor


def energy_test(first: Any, second: Any, permutations: int = 999, seed: int = 0) -> tuple[float, float]:
    """
    Two-sample test by the energy distance: are two samples from one distribution?

    Under that hypothesis the p-value is at most α with a chance of at most α, whatever the distribution, for one look;
    for a stream that is looked at again and again use [`DriftMonitor`].

    Args:
        first (`np.ndarray` or `torch.Tensor`): `[n, D]` states or `[n]` scores, two rows or more.
        second (`np.ndarray` or `torch.Tensor`): `[m, D]` or `[m]`, two rows or more.
        permutations (`int`, *optional*, defaults to 999): random divisions that the observed one is compared with.
        seed (`int`, *optional*, defaults to 0): of the divisions.

    Returns:
        `tuple[float, float]`: the energy distance 2 E|x − y| − E|x − x′| − E|y − y′| of the two samples (0 or more, in
        the unit of the states; 0 only for equal samples) and the p-value in (0, 1].

    Raises:
        [`LeamlInputError`]: if the samples differ in width, have fewer than two rows or are not finite numbers.

    Sources: Székely and Rizzo, 2013, J. Stat. Plan. Inference 143; permutation p-values: Phipson and Smyth, 2010,
    https://arxiv.org/abs/1603.05766.
    """
    from scipy.spatial.distance import cdist

    first, second = _rows(first, "first"), _rows(second, "second")
    if first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2 or permutations < 1:
        raise LeamlInputError("Give two samples of the same width, two rows or more each, and one permutation or "
                              f"more, not {first.shape}, {second.shape} and {permutations}.")  # fmt: skip
    rows = np.concatenate([first, second])
    distances = cdist(rows, rows)
    rng = np.random.default_rng(seed)
    chosen = np.zeros((permutations + 1, len(rows)))  # 1 for the first sample of a division
    chosen[0, : len(first)] = 1
    for division in chosen[1:]:
        division[rng.permutation(len(rows))[: len(first)]] = 1
    # With weights w = 1/n for the first and -1/m for the second sample, the distance is -wᵀ D w.
    weights = chosen / len(first) - (1 - chosen) / len(second)
    energy = -np.einsum("pi,pi->p", weights @ distances, weights)
    tied = energy[1:] >= energy[0] * (1 - 1e-12)
    return max(0.0, float(energy[0])), float((1 + tied.sum()) / (1 + permutations))
