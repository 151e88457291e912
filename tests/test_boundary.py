"""Why an answer may fail: which of three reasons, for one row and for a data set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaml_hf.errors import LeamlInputError
from leaml_hf.reliability import CAUSES, Boundary, Reliability, report_causes
from leaml_hf.reliability.boundary import CONTENT, FAMILIAR, REASONING, VISUAL_CUES

WIDTHS = {"vision": 24, "question": 16, "texture": 8, "hidden": 12, "logits": 10}


def states(n: int, seed: int = 0, **shifts: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(n, width)) + shifts.get(name, 0.0) for name, width in WIDTHS.items()}


@pytest.fixture(scope="module")
def boundary() -> Boundary:
    return Boundary().fit(states(400))


@pytest.mark.parametrize(
    ("shifts", "failed", "cause"),
    [({"texture": 3.0}, False, VISUAL_CUES), ({"vision": 3.0}, True, CONTENT), ({"question": 3.0}, False, CONTENT),
     ({"texture": 9.0, "vision": 1.5}, True, VISUAL_CUES), ({}, True, REASONING), ({}, False, FAMILIAR)],
)  # fmt: skip
def test_each_cause_is_told(boundary: Boundary, shifts: dict, failed: bool, cause: str) -> None:
    found = boundary.causes(states(200, 1, **shifts), np.full(200, failed))
    assert (found == cause).mean() > 0.85


def test_familiar_rows_lie_within_as_often_as_was_asked(boundary: Boundary) -> None:
    for distances in boundary.beyond(states(2000, 2)).values():
        assert (distances > 0).mean() < 0.07  # 0.025 on held-out rows of the fit


def test_unknown_names_in_pictures_are_unfamiliar_content() -> None:
    rng = np.random.default_rng(6)
    codes = rng.normal(size=(300, 24))

    def named(n: int, seed: int, first: int) -> dict[str, np.ndarray]:
        names = np.zeros((n, 16, 24))
        names[:, :4] = codes[rng.integers(first, first + 100, (n, 4))]
        return states(n, seed) | {"names": names.reshape(n, -1)}

    boundary = Boundary().fit(named(400, 0, 0))
    known, unknown = (boundary.causes(named(200, seed, first), np.zeros(200)) for seed, first in ((1, 0), (2, 150)))
    assert (known == FAMILIAR).mean() > 0.85 and (unknown == CONTENT).mean() > 0.85


def test_a_model_without_texture_tells_pictures_from_questions() -> None:
    plain = [{name: state for name, state in states(300, seed, **shift).items() if name != "texture"}
             for seed, shift in ((0, {}), (1, {"vision": 3.0}), (2, {"question": 3.0}))]  # fmt: skip
    boundary = Boundary().fit(plain[0])
    assert (boundary.causes(plain[1], np.ones(300)) == VISUAL_CUES).mean() > 0.85
    assert (boundary.causes(plain[2], np.ones(300)) == CONTENT).mean() > 0.85


def test_it_is_saved_with_reliability(tmp_path) -> None:
    rng = np.random.default_rng(0)
    fitted = Reliability.fit(states(200), rng.uniform(size=60), rng.integers(2, size=60), labeled_states=states(60, 3))
    fitted.save(tmp_path)
    new, confidence = states(50, 4, texture=1.0), rng.uniform(size=50)
    judged, again = (one.apply(new, confidence) for one in (fitted, Reliability.load(tmp_path)))
    assert judged["cause"].tolist() == again["cause"].tolist()
    assert set(judged["cause"]) <= set(CAUSES)
    unsure = judged["confidence"] < fitted.abstention.threshold
    assert ((judged["cause"] == REASONING) <= unsure).all()


def test_states_without_vision_have_no_boundary() -> None:
    from leaml_hf.reliability.ood import Energy, OODCombiner

    only = {"logits": states(50)["logits"]}
    fitted = Reliability.fit(only, [], [], ood=OODCombiner([Energy()]))
    assert fitted.boundary is None and "cause" not in fitted.apply(only, np.ones(50) / 2)


@given(st.lists(st.tuples(st.sampled_from(CAUSES), st.booleans()), min_size=1, max_size=40))
def test_what_is_lost_adds_up(rows: list[tuple[str, bool]]) -> None:
    causes, correct = zip(*rows, strict=True)
    report = report_causes(causes, correct, familiar_accuracy=0.8)
    assert sum(part["n"] for part in report.values()) == len(rows)
    assert sum(part["share"] for part in report.values()) == pytest.approx(1)
    assert sum(part["lost"] for part in report.values()) == pytest.approx(0.8 - np.mean(correct))


def test_it_must_be_fitted() -> None:
    with pytest.raises(LeamlInputError, match="Fit the boundary"):
        Boundary().beyond(states(3))
