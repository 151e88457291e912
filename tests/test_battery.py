"""The diagnostic battery: trials are what they say, and the capacity of observers of a known capacity is recovered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaml_hf import LeamlInputError
from leaml_hf.data.visual_arrays.battery import (
    CONDITIONS,
    FORMS,
    PRESENTATIONS,
    WIDTH,
    iter_battery,
    load_battery,
    sample_trial,
)
from leaml_hf.evaluation.capacity import change_detection, cowan_k, d_prime, pashler_k


class TestTrials:
    @given(
        st.sampled_from(CONDITIONS), st.sampled_from(FORMS), st.integers(1, 8), st.integers(0, 8), st.booleans(),
        st.integers(0, 2**32 - 1),
    )  # fmt: skip
    @settings(max_examples=200)
    def test_only_targets_change_and_only_in_the_feature_asked_for(self, condition, form, size, load, change, seed):
        load = load if condition.endswith("-S") else 0
        trial = sample_trial(condition, form, size, load, change, np.random.default_rng(seed))
        assert (trial.set_size, len(trial.before)) == (size, size + load)
        assert len({(item.x, item.y) for item in trial.before}) == size + load
        after = trial.after if form == "whole_display" else {trial.probed[0]: trial.after[0]}
        after = dict(enumerate(after)) if form == "whole_display" else after
        changed = [i for i, item in after.items() if item != trial.before[i]]
        assert changed == (sorted(trial.probed) if change else [])
        assert all(trial.before[i].is_target for i in changed)
        for i in changed:
            old, new = trial.before[i], after[i]
            assert (old.x, old.y) == (new.x, new.y)
            assert (old.color == new.color) == (trial.feature == "orient")
            assert (old.orientation == new.orientation) == (trial.feature == "color")

    @pytest.mark.parametrize("form", FORMS)
    def test_a_binding_keeps_the_features_and_a_novel_one_does_not(self, form):
        kinds = set()
        for seed in range(60):
            trial = sample_trial("VA-color", form, 4, 0, True, np.random.default_rng(seed))
            colors = {item.color for item in trial.before}
            new = trial.after[trial.probed[0] if form == "whole_display" else 0].color
            assert (new in colors) == (trial.change_kind == "binding")
            if form == "whole_display" and trial.change_kind == "binding":
                assert sorted(i.color for i in trial.after) == sorted(i.color for i in trial.before)
            kinds.add(trial.change_kind)
        assert kinds == {"novel", "binding"}

    def test_the_cue_tells_targets_from_distractors(self):
        for seed in range(30):
            sides = sample_trial("VA-color-S", "single_probe", 3, 4, False, np.random.default_rng(seed))
            assert all((item.x < WIDTH / 2) == (sides.cue == "left") for item in sides.before if item.is_target)
            assert all((item.x < WIDTH / 2) != (sides.cue == "left") for item in sides.before if not item.is_target)
            colors = sample_trial("VA-orient-S", "single_probe", 3, 4, False, np.random.default_rng(seed))
            assert all((item.color == colors.cue) == item.is_target for item in colors.before)


class TestRows:
    @pytest.mark.parametrize("condition", CONDITIONS)
    def test_a_row_depends_on_its_number_alone_and_changes_take_turns(self, condition):
        rows = list(iter_battery(condition, set_sizes=(2, 4), stop=12))
        again = list(iter_battery(condition, set_sizes=(2, 4), start=5, stop=7))
        assert [row["images"][0].tobytes() for row in rows[5:7]] == [row["images"][0].tobytes() for row in again]
        assert [row["answer"] for row in rows] == ["no", "yes"] * 6
        assert [row["set_size"] for row in rows[::2]] == [2, 4, 2, 4, 2, 4]

    @pytest.mark.parametrize("presentation", PRESENTATIONS[1:])
    def test_presentations_show_the_same_trials(self, presentation):
        one = next(iter_battery("VA-color", start=1, stop=2))
        other = next(iter_battery("VA-color", presentation=presentation, start=1, stop=2))
        assert one["images"][0].size == (224, 224) and [i.size for i in other["images"]] == [(448, 224)] * 2
        assert all(one[key] == other[key] for key in ("question", "answer", "set_size", "change_kind"))
        assert len(other["turns"]) == (presentation == "two_turns")

    def test_whole_displays_differ_within_their_boxes_alone(self):
        for row in iter_battery("VA-orient", "whole_display", "two_pictures", set_sizes=(3, 6), stop=16):
            first, second = (np.array(image).astype(int) for image in row["images"])
            different = np.abs(first - second).max(-1) > 8
            assert different.any() == (row["answer"] == "yes")
            for left, top, right, bottom in row["relevant_boxes"]:
                different[int(top * 224) : round(bottom * 224) + 1, int(left * 448) : round(right * 448) + 1] = False
            assert not different.any()

    def test_it_loads_like_other_data(self):
        rows = load_battery("VA-color-S", 8, distractors=(0, 2))
        assert rows["image"][0].size == (224, 224) and set(rows["distractors"]) == {0, 2}
        assert "image" not in load_battery("VA-color", 2, presentation="two_turns").column_names

    @pytest.mark.parametrize(
        ("options", "words"),
        [({"condition": "VA-sound"}, "condition"), ({"form": "x"}, "form"), ({"presentation": "x"}, "presentation"),
         ({"set_sizes": (9,)}, "set_sizes"), ({"distractors": (2,)}, "distractors"), ({"num_rows": 0}, "num_rows")],
    )  # fmt: skip
    def test_what_does_not_exist_is_told_in_a_sentence(self, options, words):
        with pytest.raises(LeamlInputError, match=words):
            load_battery(**({"condition": "VA-color", "num_rows": 2} | options))


class TestCapacity:
    @pytest.mark.parametrize("form", FORMS)
    def test_the_capacity_of_an_observer_is_recovered(self, form):
        """An observer who holds 3 items and otherwise guesses "changed" at a rate of 0.3."""
        rng = np.random.default_rng(0)
        changed, said, sizes = [], [], []
        for size in (4, 6, 8):
            for change in (True, False):
                known = rng.random(4000) < 3 / size
                guess = rng.random(4000) < 0.3
                told = np.where(known, change, guess) if form == "single_probe" or change else guess
                changed += [change] * 4000
                said += told.tolist()
                sizes += [size] * 4000
        result = change_detection(changed, said, sizes, [0] * len(sizes), form, num_bootstrap=500)
        assert all(cell["k"] == pytest.approx(3, abs=0.25) for cell in result["cells"])
        assert result["k_interval"][0] < result["k"] < result["k_interval"][1]
        assert result["k_interval"][1] - result["k_interval"][0] < 0.4

    def test_filtering_cost_is_what_distractors_take(self):
        rng = np.random.default_rng(1)
        rows = [(c, s, load) for c in (True, False) for load, p in ((0, 0.9), (4, 0.6)) for s in rng.random(3000) < p]
        changed = [c for c, _, _ in rows]
        said = [s if c else not s for c, s, _ in rows]
        loads = [load for _, _, load in rows]
        result = change_detection(changed, said, [4] * len(rows), loads, "single_probe", num_bootstrap=300)
        cost = result["filtering_cost"]["4"]
        assert cost["cost"] == pytest.approx(4 * 0.6, abs=0.2)  # k falls from 4 (0.9 - 0.1) to 4 (0.6 - 0.4)
        assert cost["interval"][0] < cost["cost"] < cost["interval"][1]

    @given(st.floats(0, 1), st.floats(0, 0.99), st.integers(1, 8))
    def test_formulas(self, hits, alarms, size):
        assert cowan_k(size, hits, alarms) == pytest.approx(size * hits - size * alarms)
        assert pashler_k(size, hits, alarms) * (1 - alarms) == pytest.approx(cowan_k(size, hits, alarms))

    def test_d_prime_is_finite_and_symmetric(self):
        assert d_prime(10, 10, 0, 10) == pytest.approx(2 * 1.6906, abs=1e-3)  # z(10.5 / 11)
        assert d_prime(5, 10, 5, 10) == 0 and d_prime(0, 10, 10, 10) == -d_prime(10, 10, 0, 10)
        assert np.isnan(pashler_k(4, 1.0, 1.0))

    @pytest.mark.parametrize(
        ("changed", "form", "words"),
        [([True, True], "single_probe", "without a change"), ([], "single_probe", "lists"),
         ([True, False], "oral", "form")],
    )  # fmt: skip
    def test_bad_input_is_told(self, changed, form, words):
        n = len(changed)
        with pytest.raises(LeamlInputError, match=words):
            change_detection(changed, [True] * n, [2] * n, [0] * n, form)
