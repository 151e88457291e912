"""Content of the pictures, sampled from an index and a seed alone."""

from .scenes import Scene, rng_for
from .scenes_annotated import sample_annotated
from .scenes_chart import sample_chart
from .scenes_diagram import sample_diagram
from .scenes_layout import sample_layout

_SAMPLERS = {"annotated": sample_annotated, "chart": sample_chart, "diagram": sample_diagram, "layout": sample_layout}


def sample_scene(task: str, split: str, index: int, seed: int = 0) -> Scene:
    """Content of scene `index`; no variant enters, so that all variants share programs, set sizes and answers."""
    return _SAMPLERS[task](rng_for(seed, task, split, index, 0))
