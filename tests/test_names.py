"""The names in questions, and the pictures in which they stand."""

from hypothesis import given, settings
from hypothesis import strategies as st

from leaml_hf.data.visual_arrays import load_visual_arrays
from leaml_hf.training.names import NamedPictures, names_asked


class TestNames:
    def test_what_is_named_is_told_from_what_is_asked(self) -> None:
        names = ["Hazelwood", "Batch 5", "XB-12", "naïve", "R&D"]
        asked = [[f"What is the value of {names[i % 5] if i < 5 else 'the red bar'}?", "Which bar is highest?"]
                 for i in range(40)]  # fmt: skip
        assert names_asked(asked)[:5] == [[name] for name in names]
        assert not any(names_asked(asked)[5:])

    def test_common_capitals_and_numbers_are_no_names_by_themselves(self) -> None:
        asked = [[f"Are there more than {i % 4} bars, do I see?"] for i in range(40)]
        assert not any(names_asked(asked))

    def test_words_apart_are_names_apart(self) -> None:
        asked = [["Is Oak larger than Elm, Ash or Fir?"], *[["Is it larger than or ...?"]] * 9]
        assert names_asked(asked)[0] == ["Ash", "Elm", "Fir", "Oak"]

    @settings(max_examples=50)
    @given(st.lists(st.lists(st.text(max_size=30), max_size=3), max_size=6))
    def test_names_stand_in_their_questions(self, asked: list[list[str]]) -> None:
        found = names_asked(asked)
        assert len(found) == len(asked)
        for texts, names in zip(asked, found, strict=True):
            assert names == sorted(set(names))
            assert all(name and any(name in text for text in texts) for name in names)

    def test_names_of_drawn_charts(self) -> None:
        """Most names in questions on charts are found, and most of what is found stands in the picture."""
        from leaml_hf.data.visual_arrays.builder import ask_scene

        scenes = [ask_scene("chart", "train", index) for index in range(400)]
        found = names_asked([[question.text for question in questions] for _, questions in scenes])
        written = [{mark.label for mark in scene.marks} for scene, _ in scenes]
        asked = [{name for question in questions for name, _ in question.names} & labels
                 for (_, questions), labels in zip(scenes, written, strict=True)]  # fmt: skip
        hits = sum(len(wanted & set(names)) for wanted, names in zip(asked, found, strict=True))
        assert hits / sum(map(len, asked)) > 0.9
        assert sum(len(labels & set(names)) for labels, names in zip(written, found, strict=True)) > 0.5 * sum(
            map(len, found)
        )


class TestPictures:
    def test_rows_of_one_picture_count_once(self) -> None:
        shown = load_visual_arrays("chart", "base", num_rows=80)
        named = NamedPictures(shown)
        assert 5 <= len(named) <= 10
        for names, image in zip(named.names, named.images(range(len(named))), strict=True):
            own = [row["question"] for row in shown if row["image"].tobytes() == image.tobytes()]
            assert names and all(any(name in question for question in own) for name in names)
            assert set(names) <= set(named.different_names())
