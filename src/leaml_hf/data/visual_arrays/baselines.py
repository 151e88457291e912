"""How much the questions of Visual Arrays give away without a picture."""

from collections.abc import Iterator

from ..baselines import Row, question_baselines
from .builder import ask_scene, check_cell


def visual_arrays_baselines(
    task: str, variant: str = "base", train_pictures: int = 10_000, test_pictures: int = 10_000, seed: int = 0
) -> dict[str, object]:
    """
    Measures baselines that never see a picture on one cell of Visual Arrays; nothing is drawn for it.

    Args:
        task (`str`): one of `TASKS`.
        variant (`str`, *optional*, defaults to `"base"`): one of `VARIANTS`.
        train_pictures (`int`, *optional*, defaults to 10000): pictures of the training split, 8 questions each;
            with some thousands the accuracy of most programs is known to a point or two.
        test_pictures (`int`, *optional*, defaults to 10000): pictures of the test split.
        seed (`int`, *optional*, defaults to 0): of the cell.

    Returns:
        `dict`: as from [`~data.baselines.question_baselines`].

    Raises:
        [`LeamlInputError`]: if the cell does not exist.
    """
    check_cell(task, variant, "synthetic", "test")

    def rows(split: str, pictures: int) -> Iterator[Row]:
        for index in range(pictures):
            for question in ask_scene(task, split, index, seed, variant)[1]:
                yield question.program, question.text, question.answer

    return question_baselines(rows("train", train_pictures), rows("test", test_pictures))
