"""The builder of Visual Arrays, for those who load it by path; needs `pip install leaml-hf`."""

from leaml_hf.data.visual_arrays.dataset_builder import VisualArrays, VisualArraysConfig

__all__ = ["VisualArrays", "VisualArraysConfig"]
