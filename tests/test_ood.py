from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from leaml_hf.errors import LeamlInputError
from leaml_hf.reliability.ood import (
    GEN,
    KNN,
    SCORES,
    Disagreement,
    Dispersion,
    Energy,
    Entropy,
    Gates,
    Mahalanobis,
    MaxLogit,
    MaxSoftmax,
    OODCombiner,
    RelativeMahalanobis,
    Retrieval,
    UnknownNames,
    ViM,
    state_array,
)

WIDTHS = {"vision": 24, "hidden": 16, "logits": 12, "question": 10, "gates": 6, "attention": 3, "hidden_view": 16}


def all_scores():
    """One of each kind, with its usual state."""
    keys = {kind: ("vision",) for kind in ("mahalanobis", "relative_mahalanobis", "knn")}
    return [score(*keys.get(kind, ())) for kind, score in SCORES.items()]


def states(n, seed=0, shift=0.0):
    generator = np.random.default_rng(seed)
    made = {}
    for offset, (key, width) in enumerate(WIDTHS.items()):
        mixing = np.random.default_rng(100 + offset).normal(size=(width, width))  # the same domain for every seed
        made[key] = (2 + generator.normal(size=(n, width)) @ mixing * 0.2).astype(np.float32)
    made["vision"] += shift * np.random.default_rng(7).choice([-1, 1], size=WIDTHS["vision"]).astype(np.float32)
    made["hidden"] += shift * np.random.default_rng(8).choice([-1, 1], size=WIDTHS["hidden"]).astype(np.float32)
    return made


def test_max_softmax_and_energy_equal_torch():
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * 4
    expected = 1 - logits.softmax(dim=1).max(dim=1).values
    assert MaxSoftmax().fit({}).score({"logits": logits}) == pytest.approx(expected.numpy(), abs=1e-6)
    assert Energy().score({"logits": logits}) == pytest.approx(-logits.logsumexp(1).numpy(), rel=1e-5)


def test_other_scores_of_logits_equal_their_formulas():
    logits = np.random.default_rng(0).normal(size=(20, 150)) * 3
    given = {"logits": logits.astype(np.float32)}
    probability = np.exp(given["logits"].astype(float))
    probability /= probability.sum(axis=1, keepdims=True)
    assert MaxLogit().score(given) == pytest.approx(-given["logits"].max(axis=1), rel=1e-6)
    assert Entropy().score(given) == pytest.approx(entropy(probability, axis=1), rel=1e-5)
    top = np.sort(probability, axis=1)[:, ::-1][:, :100]  # Liu et al. 2023: M = 100, gamma = 0.1
    assert GEN().score(given) == pytest.approx((top**0.1 * (1 - top) ** 0.1).sum(axis=1), rel=1e-5)


def test_scores_of_logits_survive_huge_logits():
    logits = np.array([[1e4, 0.0], [0.0, 0.0]], dtype=np.float32)
    assert MaxSoftmax().score({"logits": logits}) == pytest.approx([0, 0.5])
    assert Energy().score({"logits": logits}) == pytest.approx([-1e4, -np.log(2)])
    assert Entropy().score({"logits": logits}) == pytest.approx([0, np.log(2)])
    assert GEN().score({"logits": logits}) == pytest.approx([0, 2 * 0.25**0.1])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("n", [12, 200])
def test_mahalanobis_equals_ledoit_wolf_where_no_direction_is_merged(normalize, n):
    fitted, new = states(n), states(30, seed=1, shift=0.3)

    def prepare(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalize else rows

    reference = LedoitWolf().fit(prepare(fitted["vision"]).astype(np.float64))
    expected = np.sqrt(reference.mahalanobis(prepare(new["vision"]).astype(np.float64)))
    score = Mahalanobis("vision", normalize=normalize).fit(fitted)
    assert score.score(new) == pytest.approx(expected, rel=1e-5)


def test_mahalanobis_in_compact_form_still_sees_what_lies_outside_the_leading_directions():
    generator = np.random.default_rng(0)
    spread = np.array([5.0] * 4 + [0.1] * 12)
    rows = (generator.normal(size=(300, 16)) * spread).astype(np.float32)
    score = Mahalanobis("hidden", normalize=False, components=4).fit({"hidden": rows})
    assert score.directions.shape == (4, 16)
    outside = np.zeros((1, 16), dtype=np.float32)
    outside[0, 10] = 2.0  # 20 deviations in a direction that was merged with others
    projected = (outside - score.mean) @ score.directions.T
    assert np.sqrt(projected**2 @ score.precisions[:-1])[0] < 0.1  # next to nothing within the leading directions
    assert score.score({"hidden": outside})[0] > score.score({"hidden": rows}).max()


@pytest.mark.parametrize("n", [3, 10])
def test_mahalanobis_takes_repeated_rows(n):
    pictures = states(n)["vision"]
    score = Mahalanobis("vision").fit({"vision": np.repeat(pictures, 8, axis=0)})
    assert score.directions @ score.directions.T == pytest.approx(np.eye(len(score.directions)), abs=1e-4)
    assert len(score.directions) < n
    new = score.score({"vision": states(20, seed=1, shift=1.0)["vision"]})
    assert new.min() > score.score({"vision": pictures}).max()


def test_mahalanobis_plus_plus_does_not_see_length():
    fitted, new = states(80), states(5, seed=1)
    score = Mahalanobis("hidden").fit(fitted)
    assert score.name == "hidden.mahalanobis++"
    assert score.score({"hidden": new["hidden"] * 7}) == pytest.approx(score.score(new), rel=1e-4)


def test_relative_mahalanobis_equals_the_formula():
    fitted, new = states(300), states(40, seed=1, shift=0.4)
    score = RelativeMahalanobis("vision", normalize=False, classes=3).fit(fitted)
    rows, asked = fitted["vision"].astype(float), new["vision"].astype(float)
    labels = KMeans(3, n_init=4, random_state=0).fit(rows - rows.mean(axis=0)).labels_
    means = np.array([rows[labels == c].mean(axis=0) for c in range(3)])
    within = LedoitWolf(assume_centered=True).fit(rows - means[labels]).precision_
    overall = LedoitWolf(assume_centered=True).fit(rows - rows.mean(axis=0)).precision_

    def squared(differences, precision):
        return np.einsum("nd,de,ne->n", differences, precision, differences)

    background = squared(asked - rows.mean(axis=0), overall)
    expected = np.min([squared(asked - mean, within) for mean in means], axis=0) - background
    assert score.score(new) == pytest.approx(expected, rel=1e-5, abs=1e-5 * background.max())


def test_vim_equals_the_formula():
    fitted, new = states(80), states(30, seed=1, shift=0.5)
    score = ViM(components=5).fit(fitted)
    rows, asked = fitted["hidden"].astype(float), new["hidden"].astype(float)
    complement = np.linalg.svd(rows)[2][5:]  # [D - 5, D]; about the origin, as for a head without bias
    alpha = fitted["logits"].max(axis=1).mean() / np.linalg.norm(rows @ complement.T, axis=1).mean()
    virtual = alpha * np.linalg.norm(asked @ complement.T, axis=1)
    expected = virtual - np.log(np.exp(new["logits"].astype(float)).sum(axis=1))
    assert score.score(new) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    together = np.exp(np.column_stack([new["logits"], virtual]))  # the paper's score: the softmax of the virtual logit
    probability = together[:, -1] / together.sum(axis=1)
    assert 1 / (1 + np.exp(-score.score(new))) == pytest.approx(probability, rel=1e-4)


def test_knn_equals_scikit_learn():
    fitted, new = states(60), states(9, seed=1)
    score = KNN("vision", neighbor=3).fit(fitted)
    for bank, precision in ((fitted["vision"], 2e-3), (score.bank.astype(np.float32), 1e-6)):  # kept as float16
        finder = NearestNeighbors(n_neighbors=3, metric="cosine").fit(bank)
        assert score.score(new) == pytest.approx(finder.kneighbors(new["vision"])[0][:, 2], abs=precision)
    assert score.bank.dtype == np.float16


def test_retrieval_is_the_distance_by_picture_and_question():
    fitted, new = states(50), states(9, seed=1)

    def joint(rows):
        parts = []
        for key in ("vision", "question"):
            known, own = (s[key] / np.linalg.norm(s[key], axis=1, keepdims=True) for s in (fitted, rows))
            centred = known - known.mean(axis=0)
            parts.append((own - known.mean(axis=0)) / np.sqrt((centred**2).sum(axis=1).mean()))
        return np.hstack(parts)

    score = Retrieval().fit(fitted)
    stored = joint(fitted).astype(np.float16).astype(float)
    assert score.score(new) == pytest.approx(cdist(joint(new), stored).min(axis=1), rel=1e-5)
    assert score.score(fitted).max() < 0.01
    # A known picture with a question that is known of another one is not known.
    assert score.score({**fitted, "question": np.roll(fitted["question"], 1, axis=0)}).min() > 0.05


def names_of(*pictures: list[int], dim=6):
    """The state of pictures by the numbers of their names, 16 at most; each name has one code wherever it is."""
    codes = np.random.default_rng(5).normal(size=(500, dim))
    rows = np.zeros((len(pictures), 16, dim), np.float32)
    for row, names in zip(rows, pictures, strict=True):
        row[: len(names)] = codes[names] / np.linalg.norm(codes[names], axis=1, keepdims=True)
    return {"names": rows.reshape(len(pictures), -1)}


def test_unknown_names_are_the_mean_distance_to_the_nearest_known_one():
    rng = np.random.default_rng(0)
    pictures = [list(rng.integers(0, 60, rng.integers(1, 9))) for _ in range(30)]
    score = UnknownNames(alike=1.1).fit(names_of(*pictures))  # none is left out as alike
    new = [list(rng.integers(30, 400, n)) for n in (1, 3, 8, 2, 5)]
    known, *others = (np.concatenate([names_of(p)["names"].reshape(16, -1)[: len(p)] for p in rows])
                      for rows in (pictures, *([p] for p in new)))  # fmt: skip
    known = known.astype(np.float16).astype(float)  # as it is stored
    expected = [cdist(other, known, "cosine").min(axis=1).mean() for other in others]
    assert score.score(names_of(*new)) == pytest.approx(expected, abs=1e-5)
    assert score.score(names_of(pictures[0]))[0] == pytest.approx(0, abs=1e-5)


def test_names_alike_are_stored_once_and_each_stays_near_one_of_them():
    rng = np.random.default_rng(1)
    names = names_of(*[list(rng.integers(0, 20, 16)) for _ in range(200)], dim=24)
    noisy = names["names"].reshape(-1, 24) + rng.normal(size=(3200, 24)) * 0.02
    rows = {"names": noisy.reshape(200, -1).astype(np.float32)}
    score = UnknownNames().fit(rows)
    assert 20 <= len(score.bank) < 60
    between = 1 - cdist(score.bank.astype(float), score.bank.astype(float), "cosine")
    assert (between - np.eye(len(between))).max() < 0.9 + 1e-3
    assert score.score(rows).max() < 0.1 + 1e-3
    assert len(UnknownNames(alike=1.1, bank_size=50).fit(rows).bank) == 50


def test_names_of_many_pictures_are_a_choice_of_them():
    pictures = [[place] for place in range(400)] * 6
    noise = np.random.default_rng(8).normal(size=(2400, 1)) * 1e-3  # each one is another picture
    rows = names_of(*pictures, dim=24)["names"].reshape(2400, 16, 24)
    rows[:, 0, :1] += noise
    score = UnknownNames(alike=1.1).fit({"names": rows.reshape(2400, -1)})
    again = UnknownNames(alike=1.1).fit({"names": rows.reshape(2400, -1)})
    assert len(score.bank) == 2048 and np.array_equal(score.bank, again.bank)
    assert score.score({"names": rows.reshape(2400, -1)}).max() < 0.05


def test_a_picture_without_names_is_as_unusual_as_familiar_ones_are():
    rng = np.random.default_rng(2)
    pictures = [list(rng.integers(0, 300, 4)) for _ in range(80)]
    score = UnknownNames(alike=1.1).fit(names_of(*pictures, [], []))
    apart = [UnknownNames(alike=1.1).fit(names_of(*pictures[:n], *pictures[n + 1 :])) for n in range(80)]
    of_others = [fitted.score(names_of(picture))[0] for fitted, picture in zip(apart, pictures, strict=True)]
    assert score.score(names_of([])) == pytest.approx(np.median(of_others), abs=1e-3)


def test_rows_about_one_picture_do_not_make_its_names_usual():
    rng = np.random.default_rng(3)
    pictures = [list(rng.integers(0, 300, 4)) for _ in range(40)]
    once, often = (UnknownNames().fit(names_of(*rows)) for rows in (pictures, [p for p in pictures for _ in range(3)]))
    assert once.usual == pytest.approx(often.usual) and once.usual > 0.05


@pytest.mark.parametrize("familiar", [[[], [], [], [], []], [[], [3, 4], [], [], []]])
def test_nothing_is_said_of_names_where_familiar_pictures_have_none(familiar):
    score = UnknownNames().fit(names_of(*familiar))
    again = UnknownNames()
    again.load_state_dict(score.state_dict())
    assert again.score(names_of([7], [], [1, 2])) == pytest.approx([0, 0, 0])


def test_unknown_names_refuse_states_of_another_reader():
    score = UnknownNames().fit(names_of([1], [2], [3]))
    with pytest.raises(LeamlInputError, match="width 96, not 112"):
        score.score(names_of([1], dim=7))
    with pytest.raises(LeamlInputError, match="16 codes a row"):
        UnknownNames().fit({"names": np.ones((4, 9), np.float32)})


def test_gates_and_dispersion_are_deviations_from_the_usual():
    fitted, new = states(70), states(12, seed=1)
    for score, key in ((Gates(), "gates"), (Dispersion(), "attention")):
        mean, deviation = fitted[key].mean(axis=0, dtype=float), fitted[key].std(axis=0, dtype=float)
        expected = np.sqrt((((new[key] - mean) / deviation) ** 2).mean(axis=1))
        assert score.fit(fitted).score(new) == pytest.approx(expected, rel=1e-5)
    closed = {"gates": np.zeros((9, 4), dtype=np.float32)}
    assert Gates().fit(closed).score({"gates": closed["gates"] + 1e-7}).max() < 0.01


def test_disagreement_between_views_is_the_cosine_distance():
    new = states(12)
    expected = np.diag(cdist(new["hidden"], new["hidden_view"], metric="cosine"))
    assert Disagreement().fit({}).score(new) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(LeamlInputError, match='Give the state "hidden_view"'):
        Disagreement().score({"hidden": new["hidden"]})


def test_states_are_joined_at_unit_length():
    made = states(5)
    joint = state_array(made, "vision+question")
    assert joint.shape == (5, 34)
    assert np.linalg.norm(joint[:, :24], axis=1) == pytest.approx(np.ones(5))
    assert joint[:, 24:] == pytest.approx(made["question"] / np.linalg.norm(made["question"], axis=1, keepdims=True))


@pytest.mark.parametrize("n", [4, 9, 60])
def test_every_score_is_finite_and_survives_saving(n):
    fitted, new = (states(count, seed) | names_of(*np.random.default_rng(seed).integers(0, 40, (count, 3)))
                   for count, seed in ((n, 0), (20, 1)))  # fmt: skip
    for score in all_scores():
        found = score.fit(fitted).score(new)
        assert found.shape == (20,) and found.dtype == np.float64 and np.isfinite(found).all(), score.name
        options = score.config()
        again = SCORES[options.pop("kind")](**options)
        again.load_state_dict(score.state_dict())
        assert np.array_equal(again.score(new), found), score.name
    combiner = OODCombiner(all_scores()).fit(fitted)
    assert np.isfinite(combiner.score(new)).all()


def test_knn_stores_a_seeded_subset_and_each_picture_once():
    fitted = states(50)
    repeated = {"vision": np.repeat(fitted["vision"], 4, axis=0)}
    assert KNN("vision").fit(repeated).bank.shape == (50, 24)
    one, same, other = (KNN("vision", bank_size=10, seed=seed).fit(fitted).bank for seed in (1, 1, 2))
    assert one.shape == (10, 24)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.isfinite(KNN("vision", neighbor=99).fit(fitted).score(fitted)).all()


def test_combiner_finds_a_shift_and_keeps_the_true_positive_rate():
    combiner = OODCombiner().fit(states(400))
    familiar, unfamiliar = combiner.score(states(2000, seed=1)), combiner.score(states(300, seed=2, shift=0.8))
    assert np.mean(familiar <= combiner.threshold) == pytest.approx(0.95, abs=0.03)
    assert abs(familiar.mean()) < 0.2
    scores, labels = np.concatenate([familiar, unfamiliar]), np.repeat([0, 1], [2000, 300])
    assert roc_auc_score(labels, scores) > 0.9
    assert set(combiner.components(states(2))) == {"vision.mahalanobis", "vision.relative_mahalanobis++"}


def test_questions_about_one_picture_stay_in_one_fold():
    pictures = states(60)
    repeated = {key: np.repeat(value, 5, axis=0) for key, value in pictures.items()}
    noise = np.random.default_rng(0).normal(scale=1e-4, size=repeated["vision"].shape).astype(np.float32)
    noisy = {**repeated, "vision": repeated["vision"] + noise}
    new = states(500, seed=1)

    def accepted(combiner):
        return np.mean(combiner.score(new) <= combiner.threshold)

    scores = [KNN("vision", neighbor=1)]
    assert accepted(OODCombiner(scores).fit(repeated)) > 0.85  # equal vision states are recognised
    assert accepted(OODCombiner(scores).fit(noisy, groups=np.repeat(np.arange(60), 5))) > 0.85
    assert accepted(OODCombiner(scores).fit(noisy)) < 0.2  # what would happen otherwise


def test_combiner_is_the_mean_of_standardised_scores():
    combiner = OODCombiner([Energy(), MaxSoftmax()], method="mean").fit(states(50))
    new = states(6, seed=3)
    expected = 0
    for column, score in enumerate((Energy(), MaxSoftmax())):
        held_out = score.score(states(50))  # nothing to learn, so cross-fitting changes nothing
        expected = expected + (score.score(new) - held_out.mean()) / held_out.std() / 2
        assert combiner.centers[column] == pytest.approx(held_out.mean())
    assert combiner.score(new) == pytest.approx(expected, rel=1e-6)


def test_fishers_rule_adds_the_logarithms_of_p_values():
    fitted, new = states(400), states(30, seed=3, shift=0.3)
    combiner = OODCombiner([Energy(), MaxLogit()]).fit(fitted)

    def rarity(rows):
        total = 0
        for score in (Energy(), MaxLogit()):  # nothing to learn, so cross-fitting changes nothing
            known, own = score.score(fitted), score.score(rows)
            edge = np.quantile(known, 0.8)
            excess = (known[known > edge] - edge).mean()
            p = np.array([np.mean(known > value) for value in own])
            total = total - np.where(own > edge, np.log(0.2) - (own - edge) / excess, np.log(np.maximum(p, 0.2)))
        return total

    known = rarity(fitted)
    expected = (rarity(new) - known.mean()) / known.std()
    assert combiner.score(new) == pytest.approx(expected, abs=0.05)  # p-values are kept at 33 levels
    assert np.corrcoef(combiner.score(new), expected)[0, 1] > 0.999


def test_one_very_unusual_score_is_not_drowned_by_usual_ones():
    fitted, odd = states(200), states(100, seed=1)
    odd["vision"] = states(100, seed=1, shift=0.6)["vision"]  # in one of five states
    scores = [Mahalanobis(key) for key in ("vision", "hidden", "question", "gates", "logits")]
    far = {}
    for method in ("mean", "fisher"):
        combiner = OODCombiner(scores, method=method).fit(fitted)
        far[method] = np.mean(combiner.score(odd) > combiner.threshold)
    assert far["fisher"] >= far["mean"]


def test_what_was_saved_before_methods_had_names_is_the_mean():
    combiner = OODCombiner([Energy()], method="mean").fit(states(40))
    config = combiner.config()
    del config["method"]
    again = OODCombiner.from_config(config)
    again.load_state_dict(combiner.state_dict())
    assert np.array_equal(again.score(states(9, seed=1)), combiner.score(states(9, seed=1)))


def test_a_score_that_never_varies_adds_next_to_nothing():
    fitted = {**states(40), "logits": np.ones((40, 12), dtype=np.float32)}
    combiner = OODCombiner([Mahalanobis("vision"), Energy()]).fit(fitted)
    new = {**states(20, seed=1), "logits": np.full((20, 12), 1 + 1e-7, dtype=np.float32)}
    assert np.abs(combiner.components(new)["logits.energy"]).max() < 1
    alone = OODCombiner([Mahalanobis("vision")]).fit(fitted)
    assert np.mean(combiner.score(new) > combiner.threshold) == pytest.approx(
        np.mean(alone.score(new) > alone.threshold), abs=0.1
    )


@pytest.mark.parametrize("n", [4, 5, 7, 30])
def test_few_rows_are_enough(n):
    combiner = OODCombiner().fit(states(n))
    assert np.isfinite(combiner.score(states(10, seed=1))).all()


def test_save_and_load_give_the_same_scores():
    combiner = OODCombiner(seed=4).fit(states(70))
    assert combiner.config()["method"] == "fisher"
    again = OODCombiner.from_config(combiner.config())
    again.load_state_dict(combiner.state_dict())
    new = states(20, seed=1)
    assert np.array_equal(again.score(new), combiner.score(new))
    assert again.threshold == combiner.threshold


def test_tensors_of_low_precision_are_taken():
    fitted = states(40)
    tensors = {key: torch.from_numpy(value).to(torch.bfloat16).requires_grad_() for key, value in fitted.items()}
    assert state_array(tensors, "vision") == pytest.approx(fitted["vision"], rel=1e-2)
    assert OODCombiner().fit(tensors).score(tensors).shape == (40,)


@cache
def fitted_combiner():
    return OODCombiner().fit(states(30))


@given(st.integers(0, 5), st.permutations(range(20)))
def test_scores_of_a_row_do_not_depend_on_its_neighbours(seed, order):
    combiner = fitted_combiner()
    new = states(20, seed=seed)
    shuffled = {key: value[list(order)] for key, value in new.items()}
    assert combiner.score(shuffled) == pytest.approx(combiner.score(new)[list(order)], abs=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("hidden"), 'Give the state "hidden"'),
        (lambda s: s.update(vision=s["vision"][0]), r"\[rows, width\]"),
        (lambda s: s.update(vision=s["vision"][:0]), r"\[rows, width\]"),
        (lambda s: s.update(logits=s["logits"] * np.nan), "not finite"),
        (lambda s: s.update(hidden=s["hidden"][1:]), "same number of rows"),
        (lambda s: s.update({key: value[:3] for key, value in s.items()}), "at least four different pictures, not 3"),
        (lambda s: s.update(hidden=np.ones_like(s["hidden"])), "the same in all rows"),
    ],
)
def test_bad_states_are_refused_with_a_sentence(change, message):
    bad = states(20)
    change(bad)
    with pytest.raises(LeamlInputError, match=message):
        OODCombiner([Mahalanobis("vision"), Mahalanobis("hidden"), Energy()]).fit(bad)


def test_wrong_use_is_refused_with_a_sentence():
    for call, message in [
        (lambda: OODCombiner([]), "distinct names"),
        (lambda: OODCombiner([Energy(), Energy()]), "distinct names"),
        (lambda: OODCombiner(tpr=1.0), "`tpr`"),
        (lambda: OODCombiner(folds=1), "`folds`"),
        (lambda: OODCombiner(method="vote"), '"fisher" or "mean"'),
        (lambda: RelativeMahalanobis("vision").fit(states(1)), "at least two rows"),
        (lambda: ViM().fit(states(1)), "at least two rows"),
        (lambda: OODCombiner().score(states(5)), "Fit the out-of-distribution scores"),
        (lambda: OODCombiner().state_dict(), "Fit the out-of-distribution scores"),
        (lambda: OODCombiner().fit(states(5), groups=[1, 2]), "2 groups and 5 rows"),
        (lambda: KNN("vision").score(states(5)), "Fit the score vision.knn"),
        (lambda: Mahalanobis("vision").fit(states(1)), "at least two rows"),
        (lambda: KNN("vision").fit(states(5)).score({"vision": np.ones((2, 3))}), "width 24, not 3"),
        (lambda: KNN("vision").load_state_dict({"bonk": np.ones(1)}), "Save vision.knn again"),
        (lambda: OODCombiner().load_state_dict({}), "missing or unknown arrays"),
        (lambda: OODCombiner.from_config({"scores": [{"kind": "new"}]}), 'no score "new"'),
    ]:
        with pytest.raises(LeamlInputError, match=message):
            call()


@pytest.mark.parametrize("told_by", ["texture", "places", "names"])
def test_other_states_of_pictures_are_read_where_there_are_some(told_by):
    """Rows that are drawn in another way, or elsewhere, are told by them; the mean of a picture does not show it."""
    rng, widths = np.random.default_rng(0), {"vision": 24, "places": 12, "texture": 8}

    def drawn(n, shift):
        states = {name: 1 + 0.2 * rng.normal(size=(n, width)) for name, width in widths.items()}
        names = names_of(*rng.integers(0, 40, (n, 3)) + (200 if shift and told_by == "names" else 0), dim=24)
        if told_by in states:
            states[told_by][:, ::2] += shift
        return states | names

    fitted, familiar, other = drawn(300, 0.0), drawn(100, 0.0), drawn(100, 1.0)
    whole = OODCombiner().fit(fitted)
    assert [score.name for score in whole.scores] == [
        "vision+places.mahalanobis++", "texture.mahalanobis", "names.unknown"
    ]  # fmt: skip
    without = OODCombiner().fit({"vision": fitted["vision"]})
    assert [score.name for score in without.scores] == ["vision.mahalanobis", "vision.relative_mahalanobis++"]
    labels = np.repeat([0, 1], 100)
    told, blind = (roc_auc_score(labels, np.r_[combiner.score(familiar), combiner.score(other)])
                   for combiner in (whole, without))  # fmt: skip
    assert told > 0.95 and 0.35 < blind < 0.65
    again = OODCombiner.from_config(whole.config())
    again.load_state_dict(whole.state_dict())
    np.testing.assert_allclose(again.score(other), whole.score(other))
