"""Visual Arrays: questions about drawn charts and scenes, with variants that differ in one shift each."""

from .battery import iter_battery, load_battery
from .builder import draw_scene, iter_rows, load_visual_arrays

__all__ = ["draw_scene", "iter_battery", "iter_rows", "load_battery", "load_visual_arrays"]
