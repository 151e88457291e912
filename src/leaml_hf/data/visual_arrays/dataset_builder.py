"""Visual Arrays as a `datasets` builder: draws what is asked for, caches it as Arrow, and streams."""

from collections.abc import Iterator
from typing import Any

import datasets

from .builder import cell_name, check_cell, grid, iter_encoded_rows, row_features
from .scenes import SPLITS

CHUNK = 800  # rows of a piece that one process draws


class VisualArraysConfig(datasets.BuilderConfig):
    """
    One cell.

    Args:
        task (`str`): see `load_visual_arrays`.
        variant (`str`): see there.
        domain (`str`): see there.
        num_rows (`int`, *optional*, defaults to 8000): rows of each split.
        seed (`int`, *optional*, defaults to 0): of the drawing.
        kwargs: of `datasets.BuilderConfig`.
    """

    def __init__(
        self, task: str = "chart", variant: str = "base", domain: str = "synthetic", num_rows: int = 8000,
        seed: int = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.task, self.variant, self.domain, self.num_rows, self.seed = task, variant, domain, num_rows, seed


class VisualArrays(datasets.GeneratorBasedBuilder):
    """
    Visual Arrays for `datasets`; nothing is downloaded.

    `VisualArrays(config_name="chart-style", num_rows=800)`, then `download_and_prepare(num_proc=2)` and
    `as_dataset()`, or `as_streaming_dataset("test")`.
    """

    BUILDER_CONFIG_CLASS = VisualArraysConfig
    BUILDER_CONFIGS = [  # noqa: RUF012  (as `datasets` wants it)
        VisualArraysConfig(*cell, name=cell_name(*cell)) for cell in grid()
    ]
    DEFAULT_CONFIG_NAME = "chart-base"

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description="Drawn pictures with questions, for controlled domain shifts.", features=row_features()
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        config = self.config
        check_cell(config.task, config.variant, config.domain, SPLITS[0])
        starts = list(range(0, config.num_rows, CHUNK))  # a list is shared out among processes
        return [datasets.SplitGenerator(name=split, gen_kwargs={"split": split, "starts": starts}) for split in SPLITS]

    def _generate_examples(self, split: str, starts: list[int]) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
        config = self.config
        for number, start in enumerate(starts):
            stop = min(start + CHUNK, config.num_rows)
            rows = iter_encoded_rows(config.task, config.variant, split, start, stop, config.seed, config.domain)
            for i, row in enumerate(rows):
                yield (number, i), row
