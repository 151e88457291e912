"""The drift monitor: how often it is wrong, how soon it is right, and that it says the same however it is asked."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest

from leaml_hf.errors import LeamlInputError
from leaml_hf.reliability.drift import BETS, DriftMonitor, _log_bets, energy_test

REFERENCE = 100


def stream(seed: int, rows: int, width: int = 1) -> np.ndarray:
    """Skewed and heavy-tailed: nothing may lean on a normal distribution."""
    rng = np.random.default_rng([seed, 9])
    return np.exp(0.5 * rng.standard_normal((rows, width))) * np.linspace(3, 1, width)


def median_delay(shift: float, quiet: int, width: int = 1, streams: int = 40, **options: object) -> float:
    """Rows from the drift, by `shift` standard deviations in each column, to the alarm; 1e6 where none came."""
    delays = []
    for seed in range(streams):
        rows = stream(seed, REFERENCE + quiet + 120, width)
        rows[REFERENCE + quiet :] += shift * rows.std(0)
        monitor = DriftMonitor(seed=seed, **options).fit(rows[:REFERENCE])
        delays.append((monitor.update(rows[REFERENCE:]).alarm_row or 1e6) - quiet)
    return float(np.median(delays))


class TestFalseAlarms:
    @pytest.mark.parametrize(("options", "bound"), [
        ({"false_alarm": 0.05}, 0.05), ({"false_alarm": 0.2}, 0.2), ({"false_alarm": 0.2, "horizon": 150}, 0.2),
    ])  # fmt: skip
    @pytest.mark.parametrize("ties", [False, True])
    def test_they_are_as_rare_as_stated(self, options, bound, ties):
        """600 streams; the bound and two standard deviations of such a count."""
        alarms = 0
        for seed in range(600):
            rows = stream(seed, 60 + 150)
            rows = rows.round(0) if ties else rows
            alarms += DriftMonitor(seed=seed, **options).fit(rows[:60]).update(rows[60:]).alarm
        assert alarms / 600 <= bound + 2 * np.sqrt(bound * (1 - bound) / 600)

    def test_they_are_as_rare_with_learnt_directions(self):
        alarms = 0
        for seed in range(120):
            rows = stream(seed, 80 + 60, 12)
            alarms += DriftMonitor(0.1, directions=3, seed=seed).fit(rows[:80]).update(rows[80:]).alarm
        assert alarms / 120 <= 0.1 + 2 * np.sqrt(0.09 / 120)

    def test_p_values_are_uniform_and_independent(self):
        rows = stream(0, 2100).round(1)
        monitor = DriftMonitor().fit(rows[:100])
        p = monitor._p_values(rows[100:])[:, 0]
        assert kstest(p, "uniform").pvalue > 0.01
        assert abs(np.corrcoef(p[1:], p[:-1])[0, 1]) < 2.6 / np.sqrt(len(p))

    def test_evidence_has_mean_one_before_a_drift(self):
        """What makes the bound: capital 1 on average with the whole stream, n after n rows with a horizon."""
        whole, paid_in = (
            np.mean([np.exp(DriftMonitor(horizon=horizon, seed=seed).fit(stream(seed, 30)).update(
                stream(seed + 5000, 3)).evidence) for seed in range(700)], axis=0)
            for horizon in (None, 10)
        )  # fmt: skip
        assert whole == pytest.approx([1, 1, 1], abs=0.1)
        assert paid_in == pytest.approx([1, 2, 3], rel=0.12)

    def test_bets_are_densities(self):
        p = np.linspace(0.01, 0.99, 7)
        expected = np.stack([beta.logpdf(p, a, b) for a, b in BETS], -1)
        assert _log_bets(p[:, None])[:, 0] == pytest.approx(expected)


class TestDelays:
    @pytest.mark.parametrize(("shift", "most"), [(1.5, 25), (3, 8), (-1, 25)])
    def test_a_drift_is_seen(self, shift, most):
        assert 1 < median_delay(shift, quiet=0) <= most

    def test_the_larger_the_sooner(self):
        delays = [median_delay(shift, quiet=20, horizon=150, false_alarm=0.05) for shift in (0, 1, 2, 4)]
        assert delays[0] > 1e5
        assert delays[1:] == sorted(delays[1:], reverse=True)
        assert delays[-1] < delays[1]

    def test_after_a_long_quiet_time_a_horizon_is_sooner(self):
        whole = median_delay(2, quiet=300, false_alarm=0.05)
        assert median_delay(2, quiet=300, false_alarm=0.05, horizon=100) <= whole <= 40

    def test_a_drift_of_many_columns_is_seen(self):
        assert median_delay(1.5, quiet=20, width=16, streams=20) < 60

    @pytest.mark.parametrize(("change", "channel"), [
        (lambda rows, axis: rows + 4 * axis, "direction 0"),
        (lambda rows, axis: rows + 4 * np.eye(12)[11], "distance"),
    ])  # fmt: skip
    def test_the_report_says_where(self, change, channel):
        rng = np.random.default_rng(0)
        axis = np.eye(12)[0]
        rows = rng.normal(size=(200, 12)) + 3 * rng.normal(size=(200, 1)) * axis
        monitor = DriftMonitor(directions=1).fit(rows[:150])
        assert monitor.update(change(rows[150:], axis)).channel == channel

    def test_a_wider_stream_is_seen_too(self):
        rng = np.random.default_rng(0)
        monitor = DriftMonitor().fit(rng.normal(size=200))
        assert monitor.update(3 * rng.normal(size=200)).alarm


class TestStreams:
    @pytest.mark.parametrize("horizon", [None, 50])
    @pytest.mark.parametrize("width", [1, 12])
    def test_batches_say_what_single_rows_say(self, horizon, width):
        rows = stream(1, 400, width).round(1)
        rows[250:] *= 1.5
        whole, single = (DriftMonitor(horizon=horizon).fit(rows[:100]) for _ in range(2))
        report = whole.update(rows[100:])
        reports = [single.update(row[None]) for row in rows[100:]]
        assert np.concatenate([r.evidence for r in reports]) == pytest.approx(report.evidence, abs=1e-9)
        assert reports[-1].alarm_row == report.alarm_row is not None
        assert (reports[-1].rows, reports[-1].channel) == (report.rows, report.channel)
        assert [r.alarm for r in reports].index(True) == report.alarm_row - 1

    def test_the_alarm_stays_until_the_restart(self):
        rows = stream(2, 300)
        monitor = DriftMonitor().fit(rows[:100])
        first = monitor.update(rows[100:130] + 20)
        assert first.alarm and monitor.update(rows[130:230]).alarm_row == first.alarm_row
        again = monitor.restart().update(rows[100:130] + 20)
        assert again.evidence == pytest.approx(first.evidence)
        assert not monitor.restart().update(rows[230:]).alarm

    def test_tensors_and_scores_are_taken_as_they_are(self):
        rows = stream(3, 140).astype(np.float32)
        reports = [DriftMonitor().fit(kind(rows[:100])).update(kind(rows[100:])) for kind in
                   (lambda x: x, lambda x: x[:, 0], torch.tensor, lambda x: x[:, 0].tolist())]  # fmt: skip
        for report in reports[1:]:
            assert report.evidence == pytest.approx(reports[0].evidence)

    @pytest.mark.parametrize("width", [1, 12])
    def test_a_saved_monitor_goes_on(self, tmp_path, width):
        rows = stream(4, 300, width)
        monitor = DriftMonitor(0.02, horizon=77, directions=4, seed=3).fit(rows[:100])
        monitor.update(rows[100:150] + 30)
        monitor.save(tmp_path / "made" / "drift.safetensors")
        loaded = DriftMonitor.load(tmp_path / "made" / "drift.safetensors")
        reports = [m.update(rows[150:200]) for m in (monitor, loaded)]
        assert np.array_equal(reports[0].evidence, reports[1].evidence)
        assert reports[0].alarm_row == reports[1].alarm_row is not None
        assert (loaded.false_alarm, loaded.horizon, loaded.directions, loaded.seed) == (0.02, 77, 4, 3)
        restarted = [m.restart().update(rows[200:]).evidence for m in (monitor, loaded)]
        assert np.array_equal(*restarted)


class TestErrors:
    @pytest.mark.parametrize("options", [
        {"false_alarm": 0}, {"false_alarm": 1}, {"false_alarm": float("nan")}, {"horizon": 0}, {"directions": 0},
    ])  # fmt: skip
    def test_bad_options(self, options):
        with pytest.raises(LeamlInputError, match="Give `false_alarm`"):
            DriftMonitor(**options)

    @pytest.mark.parametrize(("rows", "reason"), [
        (np.zeros((19, 1)), "20 rows or more, not 19"), (np.zeros((39, 12)), "40 rows or more, not 39"),
        (np.full((50, 2), np.nan), "not finite"), (np.zeros((0, 3)), "shape"), (np.zeros((50, 2, 2)), "shape"),
    ])  # fmt: skip
    def test_bad_references(self, rows, reason):
        with pytest.raises(LeamlInputError, match=reason):
            DriftMonitor().fit(rows)

    def test_bad_streams(self):
        for use in (lambda m: m.update(np.zeros((1, 3))), lambda m: m.restart(), lambda m: m.save("nowhere")):
            with pytest.raises(LeamlInputError, match="Fit the drift monitor"):
                use(DriftMonitor())
        monitor = DriftMonitor().fit(stream(0, 50, 3))
        for rows, reason in ((np.zeros((1, 2)), "width 3"), (np.full((1, 3), np.inf), "finite"), ([], "shape")):
            with pytest.raises(LeamlInputError, match=reason):
                monitor.update(rows)
        assert monitor.rows == 0

    def test_bad_files(self, tmp_path):
        from safetensors.numpy import save_file

        path = tmp_path / "drift.safetensors"
        with pytest.raises(LeamlInputError, match="no drift monitor"):
            DriftMonitor.load(path)
        DriftMonitor().fit(stream(0, 50)).save(path)
        path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(LeamlInputError, match="damaged"):
            DriftMonitor.load(path)
        save_file({"center": np.zeros(2)}, path)
        with pytest.raises(LeamlInputError, match="holds no drift monitor"):
            DriftMonitor.load(path)

    @pytest.mark.parametrize("change", [{"width": None}, {"rows": "many"}, {"false_alarm": 7}, {"more": 1}, [], "{"])
    def test_a_damaged_header_is_told(self, tmp_path, change):
        from safetensors import safe_open
        from safetensors.numpy import load_file, save_file

        path = tmp_path / "drift.safetensors"
        DriftMonitor().fit(stream(0, 50)).save(path)
        with safe_open(path, framework="np") as file:
            ((name, header),) = file.metadata().items()
        changed = json.dumps(json.loads(header) | change if isinstance(change, dict) else change)
        save_file(load_file(path), path, metadata={name: change if change == "{" else changed})
        with pytest.raises(LeamlInputError):
            DriftMonitor.load(path)


class TestEnergyTest:
    def test_the_distance_is_the_defined_one(self):
        rng = np.random.default_rng(0)
        first, second = rng.normal(size=(7, 3)), rng.normal(size=(9, 3)) + 1

        def mean(a, b):
            return np.mean([np.linalg.norm(x - y) for x in a for y in b])

        expected = 2 * mean(first, second) - mean(first, first) - mean(second, second)
        assert energy_test(first, second, 9)[0] == pytest.approx(expected)
        assert energy_test(first, first, 9) == (pytest.approx(0, abs=1e-9), 1.0)

    def test_p_values_hold_their_level(self):
        p = np.array([energy_test(stream(seed, 12, 2), stream(seed + 999, 15, 2), 99)[1] for seed in range(400)])
        for level in (0.05, 0.2):
            assert np.mean(p <= level) <= level + 2 * np.sqrt(level * (1 - level) / len(p))
        assert p.min() >= 0.01

    def test_samples_that_differ_are_told_apart(self):
        assert energy_test(stream(0, 40, 5), stream(1, 40, 5) + 1)[1] == 0.001

    @pytest.mark.parametrize(("first", "second"), [
        (np.zeros((3, 2)), np.zeros((3, 1))), (np.zeros((1, 2)), np.zeros((3, 2))),
    ])  # fmt: skip
    def test_bad_samples(self, first, second):
        with pytest.raises(LeamlInputError, match="two samples of the same width"):
            energy_test(first, second)
