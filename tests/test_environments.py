"""Environments of pictures, and figures by environment and strength."""

import io

import datasets
import numpy as np
import pytest
from PIL import Image, ImageDraw

from leaml_hf.errors import LeamlInputError
from leaml_hf.evaluation.environments import ENVIRONMENTS, STRENGTHS, environment_rows, environment_view
from leaml_hf.evaluation.plots import environment_panels
from leaml_hf.evaluation.runner import Predictions
from leaml_hf.evaluation.shifts import CLEAN, answer_in_environments, judge_environments

COLORS = {"red": (214, 40, 40), "green": (44, 160, 44), "blue": (31, 90, 200), "yellow": (250, 220, 50),
          "black": (20, 20, 20), "white": (250, 250, 250)}  # fmt: skip


def chart(number: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Bars on white, with a line and some text."""
    rng = np.random.default_rng(number)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for bar, color in enumerate(list(COLORS.values())[:4]):
        left = size[0] * (0.15 + 0.2 * bar)
        draw.rectangle((left, size[1] * rng.uniform(0.2, 0.7), left + 0.12 * size[0], 0.85 * size[1]), fill=color)
    draw.line((0.1 * size[0], 0.85 * size[1], 0.95 * size[0], 0.85 * size[1]), fill="black", width=2)
    draw.text((10, 5), f"chart {number}", fill="black")
    return image


def distortion(image: Image.Image, view: Image.Image) -> float:
    return float(np.abs(np.asarray(view, float) - np.asarray(image, float)).mean())


@pytest.fixture(scope="module")
def rows() -> datasets.Dataset:
    """Six rows of three pictures."""
    pictures = [chart(number) for number in (0, 0, 1, 1, 2, 2)]
    answers = ["one", "two", "three", "four", "one", ""]
    return datasets.Dataset.from_dict(
        {"image": pictures, "question": ["how many bars ?", "what is the colour ?"] * 3, "answer": answers,
         "id": list("abcdef")},
        features=datasets.Features({"image": datasets.Image(), **dict.fromkeys(("question", "answer", "id"),
                                                                               datasets.Value("string"))}),
    )  # fmt: skip


@pytest.mark.parametrize("name", ENVIRONMENTS)
class TestViews:
    def test_a_view_is_the_same_for_each_call_and_leaves_the_picture_alone(self, name):
        image = chart(0)
        first, again = (environment_view(image, name, 3, "key", seed=5) for _ in range(2))
        assert first.tobytes() == again.tobytes()
        assert (first.mode, first.size) == ("RGB", image.size)
        assert image.tobytes() == chart(0).tobytes()

    def test_each_picture_is_changed_more_at_each_strength(self, name):
        for number in range(12):
            image = chart(number)
            found = [distortion(image, environment_view(image, name, s, str(number))) for s in STRENGTHS]
            assert found[0] > 0
            assert found == sorted(found), (number, found)
            assert found[-1] > 1.5 * found[0]

    @pytest.mark.parametrize("size", [(1, 1), (3, 40), (640, 90)])
    def test_any_size(self, name, size):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        for strength in STRENGTHS:
            assert environment_view(image, name, strength, "key").size == size

    def test_large_pictures_are_changed_as_much_as_small_ones(self, name):
        """Three times the picture, three times the blur: seen from afar it is changed as much."""
        if name == "compression":
            pytest.skip("its blocks are of 8 x 8 pixels")
        enlarged = chart(0).resize((960, 720), Image.Resampling.NEAREST)
        small, large = (environment_view(image, name, 4, "key") for image in (chart(0), enlarged))
        large = large.resize((320, 240), Image.Resampling.BOX)
        assert distortion(chart(0), large) == pytest.approx(distortion(chart(0), small), rel=0.1)

    def test_rows_of_a_picture_share_its_view(self, name, rows):
        views = environment_rows(rows, name, 2, seed=1)
        images = [image.tobytes() for image in views["image"]]
        assert images[0] == images[1] != images[2]
        assert views["id"] == rows["id"]
        assert images[0] == environment_rows(rows.select([1]), name, 2, seed=1)["image"][0].tobytes()


def test_a_folder_may_lie_anywhere(tmp_path):
    views = []
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
        chart(0).save(folder / "0.png")
        moved = datasets.Dataset.from_dict({"image": [str(folder / "0.png")], "question": ["what ?"]})
        moved = moved.cast_column("image", datasets.Image())
        views.append(environment_rows(moved, "noise", 3)["image"][0].tobytes())
    assert views[0] == views[1]


@pytest.mark.parametrize("name", ["noise", "exposure", "colour_cast", "perspective", "occlusion"])
def test_seed_and_picture_decide_what_is_random(name):
    image = chart(0)
    views = {environment_view(image, name, 3, key, seed).tobytes() for key in ("a", "b", "c") for seed in range(4)}
    assert len(views) > 1
    assert len(views) >= 6 or name == "exposure"  # which is up or down


def test_colours_can_be_told_in_slight_light():
    for name, (red, green, blue) in COLORS.items():
        image = Image.new("RGB", (8, 8), (red, green, blue))
        for environment in ("colour_cast", "exposure"):
            for key in range(10):
                seen = environment_view(image, environment, 1, str(key)).getpixel((4, 4))
                nearest = min(COLORS, key=lambda other: np.sum((np.array(COLORS[other]) - seen) ** 2.0))
                assert nearest == name, (environment, seen)


def test_little_is_hidden_at_the_lowest_strength():
    for number in range(8):
        image = chart(number)
        covered = np.any(np.asarray(environment_view(image, "occlusion", 1, str(number))) != np.asarray(image), -1)
        assert 0.005 < covered.mean() < 0.035
        ink = np.asarray(environment_view(image, "perspective", 5, str(number)).convert("L")) < 250
        assert ink[0].mean() < 0.2  # nothing was pushed over the edge
        assert ink.mean() > 0.3 * (np.asarray(image.convert("L")) < 250).mean()


@pytest.mark.parametrize(("name", "strength", "reason"), [
    ("fog", 1, "no environment fog"), ("", 1, "no environment"), ("blur", 0, "1 to 5, not 0"),
    ("blur", 6, "1 to 5, not 6"),
])  # fmt: skip
def test_unknown_views_are_refused(name, strength, reason):
    with pytest.raises(LeamlInputError, match=reason):
        environment_view(chart(0), name, strength, "key")


class TestAnswers:
    def test_rows_are_answered_as_they_are_and_in_each_view(self, composed, processor, rows):
        answered = answer_in_environments(composed, processor, rows, ["blur", "occlusion"], [1, 4])
        assert list(answered) == [CLEAN, ("blur", 1), ("blur", 4), ("occlusion", 1), ("occlusion", 4)]
        assert {len(seen.texts) for seen in answered.values()} == {5}  # one row has no answer
        states = [answered[setting].states["vision"] for setting in (CLEAN, ("blur", 1), ("blur", 4))]
        near, far = (np.linalg.norm(view - states[0]) for view in states[1:])
        assert 0 < near < far

    @pytest.mark.parametrize(("names", "strengths", "reason"), [
        (["fog"], [1], "no environment fog"), ([], [1], "no environment given"), (["blur"], [7], "not 7"),
        (["blur"], [], "not none"),
    ])  # fmt: skip
    def test_bad_choices_are_told(self, composed, processor, rows, names, strengths, reason):
        with pytest.raises(LeamlInputError, match=reason):
            answer_in_environments(composed, processor, rows, names, strengths)

    def test_without_answers_there_is_nothing_to_judge(self, composed, processor, rows):
        with pytest.raises(LeamlInputError, match="No row has both"):
            answer_in_environments(composed, processor, rows.select([5]))


def predictions(correct: list[int], confidence: list[float]) -> Predictions:
    states = {"vision": np.zeros((len(correct), 2)), "hidden": np.zeros((len(correct), 2))}
    return Predictions(["x"] * len(correct), np.array(confidence), np.array(correct, bool), states, 0.0, 1.0)


class TestFigures:
    @pytest.fixture()
    def figures(self, composed):
        """Of a model without reliability, whose OOD score is one minus the confidence."""
        clean = predictions([1, 1, 1, 0], [0.9, 0.8, 0.7, 0.6])
        blurred = predictions([1, 0, 0, 0], [0.5, 0.4, 0.65, 0.1])
        wrong = predictions([0, 0, 0, 0], [0.9, 0.8, 0.7, 0.6])
        return judge_environments(composed, {CLEAN: clean, ("blur", 1): blurred, ("noise", 5): wrong})

    def test_they_are_by_environment_and_strength(self, figures):
        assert {name: list(found) for name, found in figures.items() if name != "clean"} == {
            "blur": ["1"],
            "noise": ["5"],
        }
        assert (figures["clean"]["accuracy"], figures["blur"]["1"]["accuracy"]) == (0.75, 0.25)
        assert figures["clean"]["ece"] == pytest.approx(0.3)
        assert "auroc" not in figures["clean"]

    def test_ood_scores_are_held_against_those_of_the_clean_rows(self, figures):
        assert figures["blur"]["1"]["auroc"] == pytest.approx(15 / 16)
        assert figures["noise"]["5"]["auroc"] == pytest.approx(0.5)

    def test_confidence_is_judged_within_an_environment(self, figures):
        assert figures["clean"]["confidence_auroc"] == 1
        assert figures["blur"]["1"]["confidence_auroc"] == pytest.approx(2 / 3)
        assert figures["noise"]["5"]["confidence_auroc"] is None

    def test_they_are_drawn(self, figures, tmp_path):
        many = figures | {f"view {number}": figures["blur"] for number in range(5)}
        for number, drawn in enumerate((figures, many)):
            path = environment_panels(tmp_path / "made" / f"{number}.png", drawn)
            assert Image.open(io.BytesIO(path.read_bytes())).size[0] > 500
        with pytest.raises(LeamlInputError, match="at least one environment"):
            environment_panels(tmp_path / "none.png", {"clean": figures["clean"]})
