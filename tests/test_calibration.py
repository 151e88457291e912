import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from leaml_hf.errors import LeamlInputError
from leaml_hf.files import digest
from leaml_hf.reliability import Reliability
from leaml_hf.reliability.calibration import (
    CALIBRATORS,
    BetaScaling,
    HistogramBinning,
    Identity,
    IsotonicScaling,
    PlattOODScaling,
    PlattScaling,
    ProgramTemperatureScaling,
    TemperatureScaling,
    fit_calibrator,
    temper,
)
from leaml_hf.reliability.conformal import choose_abstention_threshold
from leaml_hf.reliability.ood import OODCombiner


def labels(n, slope=1.0, shift=0.0, seed=0):
    """Raw confidences whose true probability of being right is sigmoid(slope * logit + shift)."""
    generator = np.random.default_rng(seed)
    raw = expit(generator.normal(1, 2, n))
    return raw, (generator.random(n) < expit(slope * logit(raw) + shift)).astype(float)


def nll(confidence, correct):
    return -np.mean(np.where(correct == 1, np.log(confidence), np.log1p(-confidence)))


def test_temperature_is_recovered():
    calibrator = TemperatureScaling().fit(*labels(5000, slope=1 / 3))
    assert calibrator.temperature == pytest.approx(3, rel=0.1)
    assert calibrator.transform([0.9]) == pytest.approx(expit(logit(0.9) / calibrator.temperature))


def test_platt_is_recovered_and_needs_no_prior_with_many_labels():
    slope, shift, _ = PlattScaling().fit(*labels(5000, slope=0.5, shift=-1)).coefficients
    assert slope == pytest.approx(0.5, abs=0.05)
    assert shift == pytest.approx(-1, abs=0.1)


def penalised(design, correct, prior):
    """Minus the log posterior of weights, slowly."""
    return lambda weights: -np.sum(np.log(expit(np.where(correct == 1, 1, -1) * (design @ weights)))) + prior(weights)


def test_few_labels_are_fitted_with_the_priors_that_are_told():
    raw, correct = labels(25, slope=0.4, shift=-0.5)
    temperature = minimize_scalar(
        lambda s: penalised(logit(raw)[:, None], correct, lambda w: np.log(w[0]) ** 2 / 2)(np.array([np.exp(s)]))
    )
    assert TemperatureScaling().fit(raw, correct).temperature == pytest.approx(np.exp(-temperature.x), rel=1e-3)
    design = np.column_stack([np.log(raw), -np.log1p(-raw), np.ones(25)])
    loss = penalised(design, correct, lambda w: (np.log(w[:2]) ** 2).sum() / 2 + w[2] ** 2 / (2 * 1.5**2))
    found = minimize(lambda s: loss(np.array([np.exp(s[0]), np.exp(s[1]), s[2]])), np.zeros(3), method="Nelder-Mead",
                     options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000}).x  # fmt: skip
    expected = np.array([np.exp(found[0]), np.exp(found[1]), found[2]])
    assert BetaScaling().fit(raw, correct).coefficients == pytest.approx(expected, abs=2e-3)


def test_beta_with_many_labels_is_the_logistic_regression_of_kull():
    generator = np.random.default_rng(0)
    raw = generator.beta(2, 1, 20_000)
    correct = (generator.random(20_000) < expit(2 * np.log(raw) - 0.5 * np.log1p(-raw) - 0.3)).astype(float)
    columns = np.column_stack([np.log(raw), -np.log1p(-raw)])
    reference = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(columns, correct)
    grid = np.linspace(0.02, 0.98, 49)
    expected = reference.predict_proba(np.column_stack([np.log(grid), -np.log1p(-grid)]))[:, 1]
    assert BetaScaling().fit(raw, correct).transform(grid) == pytest.approx(expected, abs=1e-3)


def by_program(rows, slopes, seed=0):
    """Labels of programs with slopes of their own."""
    parts = [labels(n, slope, seed=seed + i) for i, (n, slope) in enumerate(zip(rows, slopes, strict=True))]
    programs = np.repeat([f"program {i}" for i in range(len(rows))], rows)
    return *(np.concatenate(column) for column in zip(*parts, strict=True)), programs


def test_temperatures_of_programs_are_drawn_to_that_of_all():
    raw, correct, programs = by_program([2000, 2000, 6], [1 / 4, 1.5, 1.0])
    calibrator = ProgramTemperatureScaling().fit(raw, correct, None, programs)
    shared, (narrow, wide, few) = TemperatureScaling().fit(raw, correct).coefficients[0], calibrator.slopes
    assert (narrow, wide) == pytest.approx((1 / 4, 1.5), rel=0.15)
    own = [programs == f"program {i}" for i in range(3)]
    alone = TemperatureScaling().fit(raw[own[2]], correct[own[2]]).coefficients[0]
    assert abs(np.log(few / shared)) < abs(np.log(alone / shared)) or few == pytest.approx(shared, rel=0.2)
    loss = penalised(logit(raw[own[0]])[:, None], correct[own[0]],
                     lambda w: (np.log(w[0]) - np.log(shared)) ** 2 / (2 * 0.5**2))  # fmt: skip
    expected = minimize_scalar(lambda s: loss(np.array([np.exp(s)])), bounds=(-4, 2), method="bounded").x
    assert narrow == pytest.approx(np.exp(expected), rel=1e-3)
    found = calibrator.transform([0.9, 0.9, 0.9], None, ["program 0", "program 1", "never seen"])
    assert found == pytest.approx(expit(logit(0.9) * np.array([narrow, wide, shared])))


def test_programs_are_told_apart_where_the_labels_show_it():
    raw, correct, programs = by_program([150, 150], [1 / 5, 2.0])
    assert fit_calibrator(raw, correct, programs=programs).kind == "program_temperature"
    raw, correct, programs = by_program([150, 150], [1 / 3, 1 / 3])
    assert fit_calibrator(raw, correct, programs=programs).kind == "temperature"
    with pytest.raises(LeamlInputError, match="one program for each"):
        fit_calibrator(raw, correct, programs=["count"])
    with pytest.raises(LeamlInputError, match="one program for each"):
        ProgramTemperatureScaling().fit(raw, correct)


def test_histogram_is_laplace_smoothed_counts_of_equal_mass_bins():
    raw, correct = np.arange(40) / 40, np.repeat([0, 1, 0, 1, 1], [8, 4, 4, 8, 16]).astype(float)
    calibrator = HistogramBinning().fit(raw, correct)
    counts = np.array([0, 4, 8, 8, 8])  # right ones of each eighth; five bins of eight rows
    assert calibrator.transform(raw) == pytest.approx(np.repeat((counts + 1) / 10, 8))
    falling = HistogramBinning().fit(raw, 1 - correct).transform(raw)
    assert falling == pytest.approx(np.full(40, np.mean((9 - counts) / 10)))  # bins that fall share their mean


def test_platt_with_ood_score_lowers_confidence_but_never_raises_it():
    generator = np.random.default_rng(0)
    raw, ood = expit(generator.normal(1, 1, 3000)), generator.normal(size=3000)
    falling = (generator.random(3000) < expit(logit(raw) - 1.5 * ood)).astype(float)
    calibrator = PlattOODScaling().fit(raw, falling, ood)
    assert calibrator.coefficients[2] == pytest.approx(1.5, abs=0.15)
    rising = (generator.random(3000) < expit(logit(raw) + 1.5 * ood)).astype(float)
    assert 0 <= PlattOODScaling().fit(raw, rising, ood).coefficients[2] < 0.01
    assert fit_calibrator(raw, falling, ood).kind == "platt_ood"
    with pytest.raises(LeamlInputError, match="one out-of-distribution score for each"):
        calibrator.transform([0.5])


def test_isotonic_finds_a_step_and_is_never_certain():
    generator = np.random.default_rng(0)
    raw = generator.random(2000)
    correct = (generator.random(2000) < np.where(raw < 0.6, 0.2, 0.9)).astype(float)
    calibrator = IsotonicScaling().fit(raw, correct)
    assert calibrator.transform([0.2, 0.9]) == pytest.approx([0.2, 0.9], abs=0.06)
    certain = IsotonicScaling().fit([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]).transform([0.0, 1.0])
    assert certain == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize("kind", sorted(CALIBRATORS))
@given(data=st.data())
def test_every_calibrator_is_monotone_and_gives_probabilities(kind, data):
    pairs = data.draw(st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=30))
    raw, correct = np.array([p[0] for p in pairs]) / 10, np.array([float(p[1]) for p in pairs])
    ood = np.linspace(-1, 3, len(raw))
    grid = np.linspace(0, 1, 50)
    programs = np.where(np.arange(len(raw)) % 2, "count", "value")
    out = CALIBRATORS[kind]().fit(raw, correct, ood, programs).transform(grid, np.zeros(50), ["count"] * 50)
    assert ((out >= 0) & (out <= 1)).all()
    assert (np.diff(out) >= -1e-12).all()


@pytest.mark.parametrize("kind", [TemperatureScaling, PlattScaling, IsotonicScaling])
@pytest.mark.parametrize("value", [0, 1])
def test_labels_that_are_all_alike_stay_harmless(kind, value):
    raw = np.array([0.6, 0.7, 0.9, 0.95, 0.99])
    out = kind().fit(raw, np.full(5, value)).transform(raw)
    assert ((out > 0.0001) & (out < 0.9999)).all()
    assert fit_calibrator(np.tile(raw, 3), np.full(15, value)).transform([0.9])[0] == pytest.approx(value, abs=0.49)


def test_the_simplest_sufficient_calibrator_is_chosen():
    assert fit_calibrator(*labels(5)).kind == "identity"
    assert fit_calibrator(*labels(300, slope=1 / 3)).kind == "temperature"
    assert fit_calibrator(*labels(300, shift=-2)).kind == "platt"
    generator = np.random.default_rng(0)
    raw = generator.random(1500)
    bump = np.where((raw > 0.3) & (raw < 0.6), 0.9, np.where(raw <= 0.3, 0.05, 0.92))
    assert fit_calibrator(raw, (generator.random(1500) < bump).astype(float)).kind == "histogram"
    skewed = expit(3 * np.log(raw) - 0.3 * np.log1p(-raw))
    assert fit_calibrator(raw, (generator.random(1500) < skewed).astype(float)).kind == "beta"


@pytest.mark.parametrize(("slope", "shift"), [(1 / 3, 0), (1, -2), (1, 0), (0, 0)])
def test_forty_labels_are_enough_to_help(slope, shift):
    before, after = [], []
    held_out = labels(4000, slope, shift, seed=99)
    for seed in range(8):
        calibrator = fit_calibrator(*labels(40, slope, shift, seed))
        before.append(nll(held_out[0], held_out[1]))
        after.append(nll(calibrator.transform(held_out[0]), held_out[1]))
    assert np.mean(after) < np.mean(before) + 0.03
    if (slope, shift) != (1, 0):
        assert np.mean(after) < np.mean(before) - 0.1


def test_the_choice_is_seeded():
    raw, correct = labels(60, slope=0.5)
    one, two = fit_calibrator(raw, correct, seed=3), fit_calibrator(raw, correct, seed=3)
    assert np.array_equal(one.transform(raw), two.transform(raw))


class TestEarlierAnswers:
    """Calibration with 60 labels and 140 that a model answered before it was trained on them."""

    def errors(self, drift: float) -> np.ndarray:
        """`[8, 2]`, mean error of the probabilities with and without the earlier answers, by seed."""
        asked, _ = labels(4000, seed=99)
        true = expit(0.5 * logit(asked) - 0.5)
        found = []
        for seed in range(8):
            given = labels(60, 0.5, -0.5, seed)
            earlier = (*labels(140, 0.5, -0.5 - drift, 50 + seed), None)
            found.append([np.abs(fit_calibrator(*given, earlier=told).transform(asked) - true).mean()
                          for told in (earlier, None)])  # fmt: skip
        return np.array(found)

    def test_they_help_where_training_changed_little(self):
        with_them, without = self.errors(drift=0.2).mean(0)
        assert with_them < 0.9 * without

    def test_they_are_left_out_where_it_changed_much(self):
        with_them, without = self.errors(drift=3.0).T
        assert np.array_equal(with_them, without)

    def test_programs_are_not_known_of_them(self):
        raw, correct = labels(20)
        with pytest.raises(LeamlInputError, match="not both"):
            fit_calibrator(raw, correct, programs=["count"] * 20, earlier=(raw, correct, None))


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([], [], "at least one labelled answer"),
        ([0.5, 2.0], [0, 1], "probabilities between 0 and 1"),
        ([0.5, float("nan")], [0, 1], "probabilities between 0 and 1"),
        ([0.5, 0.6], [0, 0.5], "zeros and ones"),
        ([0.5, 0.6], [0], "one for each confidence"),
    ],
)
def test_bad_labels_are_refused_with_a_sentence(confidence, correct, message):
    for function in (fit_calibrator, choose_abstention_threshold):
        with pytest.raises(LeamlInputError, match=message):
            function(confidence, correct)


def test_wrong_use_is_refused_with_a_sentence():
    raw, correct = labels(20)
    for call, message in [
        (lambda: PlattScaling().transform(raw), "Fit the platt calibrator"),
        (lambda: PlattScaling().load_state_dict({}), "Save the calibrator again"),
        (lambda: fit_calibrator(raw, correct, [1.0]), "one finite out-of-distribution score"),
    ]:
        with pytest.raises(LeamlInputError, match=message):
            call()


def states(n, seed=0, shift=0.0):
    generator = np.random.default_rng(seed)
    widths = {"vision": 10, "hidden": 12, "logits": 8}
    made = {key: generator.normal(1, 0.2, (n, width)).astype(np.float32) for key, width in widths.items()}
    made["vision"][:, 0] += shift
    return made


@pytest.fixture
def fitted():
    return Reliability.fit(states(150), *labels(40, slope=0.4))


def test_reliability_judges_answers(fitted):
    raw, _ = labels(50, seed=5)
    judged = fitted.apply(states(50, seed=1), raw)
    assert {key: value.shape for key, value in judged.items()} == dict.fromkeys(
        ("confidence", "ood_score", "is_ood", "abstained", "cause"), (50,)
    )
    assert judged["is_ood"].mean() < 0.2
    assert fitted.apply(states(50, seed=2, shift=2), raw)["is_ood"].mean() > 0.8
    assert np.array_equal(judged["abstained"], judged["is_ood"] | (judged["confidence"] < fitted.abstention.threshold))
    assert (fitted.unlabeled_rows, fitted.labeled_rows) == (150, 40)


@pytest.mark.parametrize("kind", sorted(CALIBRATORS))
def test_reliability_survives_saving(fitted, tmp_path, kind):
    raw, correct = labels(60)
    fitted.calibrator = CALIBRATORS[kind]().fit(raw, correct, np.linspace(-1, 1, 60), ["count", "value"] * 30)
    fitted.save(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "leaml_reliability.json",
        "leaml_reliability.safetensors",
    ]
    loaded = Reliability.load(tmp_path / "new")
    new, raw = states(30, seed=3), labels(30, seed=4)[0]
    programs = ["count", "never seen"] * 15
    for key, value in fitted.apply(new, raw, programs).items():
        assert np.array_equal(loaded.apply(new, raw, programs)[key], value), key
    assert loaded.abstention == fitted.abstention


def test_without_labels_confidence_is_left_as_it_is():
    reliability = Reliability.fit(states(40), [], [])
    assert isinstance(reliability.calibrator, Identity)
    assert reliability.apply(states(1, seed=1), [0.7])["confidence"] == pytest.approx([0.7])
    assert not reliability.abstention.certified


def test_states_of_the_labelled_rows_let_confidence_fall_with_unfamiliarity():
    generator = np.random.default_rng(0)
    labelled = states(600, seed=1, shift=0)
    labelled["vision"][:, 0] += generator.exponential(0.7, 600).astype(np.float32)
    plain = Reliability.fit(states(200), *labels(40))
    score = plain.ood.score(labelled)
    correct = (generator.random(600) < expit(3 - 2 * score)).astype(float)
    reliability = Reliability.fit(states(200), np.full(600, 0.8), correct, labeled_states=labelled)
    assert reliability.calibrator.kind == "platt_ood"
    near, far = (reliability.apply(states(20, seed=2, shift=s), np.full(20, 0.8))["confidence"] for s in (0, 3))
    assert far.mean() < near.mean() - 0.2


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.floats(-50, 50, allow_subnormal=False),
    st.floats(0, 50, allow_subnormal=False),
)
def test_confidence_never_rises_with_unfamiliarity(confidence, excess, more):
    confidence = np.sort(confidence)
    near, far = (temper(confidence, np.full(len(confidence), value)) for value in (excess, excess + more))
    assert (far <= near).all() and (near <= confidence).all() and (np.diff(near) >= 0).all()
    assert (near[confidence > 0.5] >= 0.5).all() and np.array_equal(
        near[confidence <= 0.5], confidence[confidence <= 0.5]
    )
    assert excess > 0 or np.array_equal(near, confidence)


def test_the_temperature_rises_with_the_logarithm_of_the_excess(fitted):
    raw, _ = labels(300, seed=7)
    far = states(300, seed=2, shift=0.3)
    judged, calibrated = fitted.apply(far, raw), fitted.calibrator.transform(raw)
    first = fitted.ood.scores[0]
    standard = (first.score(far) - fitted.ood.centers[0]) / fitted.ood.scales[0]
    excess = (standard - fitted.ood.levels[0, -1]) / fitted.ood.tails[0]
    cooled = (excess > 0) & (calibrated > 0.5)
    assert 50 < cooled.sum() < 300
    expected = np.where(cooled, expit(logit(calibrated) / (1 + 1.5 * np.log1p(excess.clip(0)))), calibrated)
    np.testing.assert_allclose(judged["confidence"], expected, rtol=1e-9)


def test_the_threshold_is_chosen_on_the_confidence_that_is_told():
    raw, correct = labels(400, seed=3)
    known = states(400, seed=5, shift=0.2)
    fitted = Reliability.fit(states(300), raw, correct, labeled_states=known, target_risk=0.3)
    told = fitted.apply(known, raw)
    assert (told["confidence"] < fitted.calibrator.transform(raw) - 0.01).sum() > 40
    ranked = np.where(told["is_ood"], 0.0, told["confidence"])
    assert fitted.abstention == choose_abstention_threshold(ranked, correct, 0.3)


def test_a_fifth_of_familiar_rows_has_an_excess_and_that_is_one_on_average():
    combiner = OODCombiner().fit(states(2000))
    excess = combiner.excess(combiner.components(states(4000, seed=1)))
    assert (excess > 0).mean() == pytest.approx(0.2, abs=0.03)
    assert excess[excess > 0].mean() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("earlier", [{}, {"tempers": False}, {"tempers": True}])
def test_earlier_files_give_what_they_gave(fitted, tmp_path, earlier):
    fitted.save(tmp_path)
    path = tmp_path / "leaml_reliability.json"
    config = json.loads(path.read_text()) | earlier
    del config["tempered_by"], config["sha256"]
    tensors = (tmp_path / "leaml_reliability.safetensors").read_bytes()
    path.write_text(json.dumps({**config, "sha256": digest(config, tensors)}))
    raw, _ = labels(30, seed=4)
    judged = Reliability.load(tmp_path).apply(states(30, seed=2, shift=2), raw)
    expected = fitted.calibrator.transform(raw)
    if earlier.get("tempers"):
        temperature = 1 + np.log1p((judged["ood_score"] - fitted.ood.threshold).clip(0))
        expected = np.where(expected > 0.5, expit(logit(expected) / temperature), expected)
    np.testing.assert_allclose(judged["confidence"], expected, rtol=1e-9)


def test_scores_combined_by_their_mean_temper_together():
    ood = OODCombiner(method="mean")
    reliability = Reliability.fit(states(200), *labels(60), ood=ood)
    assert reliability.tempered_by == "combined"
    with pytest.raises(LeamlInputError, match="fisher"):
        ood.excess(ood.components(states(3)))
    far = states(40, seed=2, shift=3)
    assert (reliability.apply(far, np.full(40, 0.95))["confidence"] < reliability.calibrator.transform([0.95])).all()


@pytest.mark.parametrize("name", ["leaml_reliability.safetensors", "leaml_reliability.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "flipped"])
def test_damaged_files_are_refused_with_a_sentence(fitted, tmp_path, name, damage):
    fitted.save(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        path.write_bytes({"cut": content[:-30], "empty": b"", "flipped": bytes(flipped)}[damage])
    with pytest.raises(LeamlInputError, match="is missing there" if damage == "missing" else "damaged"):
        Reliability.load(tmp_path)


@pytest.mark.parametrize("change", [{"threshold": 0.9}, {"certified": True}])
def test_a_changed_threshold_is_refused(fitted, tmp_path, change):
    fitted.save(tmp_path)
    path = tmp_path / "leaml_reliability.json"
    config = json.loads(path.read_text())
    config["abstention"].update(change)
    path.write_text(json.dumps(config))
    with pytest.raises(LeamlInputError, match="damaged"):
        Reliability.load(tmp_path)


def test_another_format_is_named(fitted, tmp_path):
    fitted.save(tmp_path)
    path = tmp_path / "leaml_reliability.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(LeamlInputError, match="has format 99, but this version reads format 1"):
        Reliability.load(tmp_path)
    path.write_text("[]")
    with pytest.raises(LeamlInputError, match="damaged"):
        Reliability.load(tmp_path)


def test_one_confidence_a_row_is_asked_for(fitted):
    with pytest.raises(LeamlInputError, match="2 came for 3 rows"):
        fitted.apply(states(3), [0.5, 0.5])
