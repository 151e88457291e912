"""What is read from a saved model: JSON objects and safetensors, or a sentence."""

import os

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import save_file

from leaml_hf import LeamlError, LeamlInputError
from leaml_hf.files import parse_arrays, read_bytes, read_json, read_tensors


class TestJson:
    def test_an_object_is_read(self, tmp_path):
        (tmp_path / "a.json").write_text('{"a": [1, 2.5, null], "b": {"c": "é🙂"}, "d": "\\ud83d\\ude42"}')
        assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None], "b": {"c": "é🙂"}, "d": "🙂"}

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b"null", b"5", b'{"a": 1}}', b'{"a": "\xff"}', b'\xef\xbb\xbf{"a": 1}', b"\x80\x04]q\x00.",
         b'{"a": 1, "a": 2}', b'{"b": {"a": 1, "a": 1}}', b'{"a": "\\ud800"}', b'{"a": ' + b"9" * 5000 + b"}",
         b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
        ids=range(14),
    )  # fmt: skip
    def test_anything_else_is_damaged(self, tmp_path, content):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(LeamlInputError, match=r"a\.json again: it is damaged"):
            read_json(tmp_path / "a.json")


class TestTensors:
    def test_tensors_are_read(self, tmp_path):
        save_file({"a": torch.arange(3.0)}, tmp_path / "a.safetensors")
        assert torch.equal(read_tensors(tmp_path / "a.safetensors")["a"], torch.arange(3.0))

    def test_a_pickle_is_not(self, tmp_path):
        torch.save({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
        with pytest.raises(LeamlInputError, match="damaged"):
            read_tensors(tmp_path / "a.safetensors")

    @pytest.mark.parametrize("array", [[np.nan], [np.inf], [1], [True]])
    def test_arrays_are_of_finite_floating_point_numbers(self, tmp_path, array):
        assert parse_arrays(save_arrays({"a": np.ones(2)}), tmp_path / "a")["a"].tolist() == [1, 1]
        with pytest.raises(LeamlInputError, match="damaged"):
            parse_arrays(save_arrays({"a": np.array(array)}), tmp_path / "a")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("nothing"), lambda path: None])
@pytest.mark.parametrize("read", [read_bytes, read_json, read_tensors])
def test_what_is_no_file_is_missing(tmp_path, make, read):
    make(tmp_path / "a.json")
    with pytest.raises(LeamlInputError, match=r"Put a\.json back into .*: it is missing there\."):
        read(tmp_path / "a.json")


def test_an_error_is_one_line_that_can_be_shown():
    assert str(LeamlError("no\n file\x1b[31m \u202e\ud800a")) == "no file [31m a"
    long = str(LeamlInputError("start " + "x" * 10_000 + " end"))
    assert len(long) <= 1_000 and long.startswith("start x") and long.endswith("x end")
