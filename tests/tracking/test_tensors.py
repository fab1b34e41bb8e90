"""Tensors in files: equal bytes for equal content, for any safetensors reader; a damaged file is refused."""

import pytest
import safetensors.torch
import torch

from imettk.errors import CheckpointError
from imettk.tracking.tensors import read_tensors, save_tensors


def test_equal_content_gives_equal_bytes(tmp_path):
    tensors = {f"t{number}": torch.arange(number + 1.0) for number in range(20)}
    values = {"b": 1, "a": [1.5, None], "c": {"y": 1, "x": 2}}
    digests = {
        save_tensors(tmp_path / "one", tensors, values),
        save_tensors(tmp_path / "two", dict(reversed(tensors.items())), values),
    }
    assert len(digests) == 1
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_any_safetensors_reader_can_read_it_and_a_foreign_file_is_refused(tmp_path):
    save_tensors(tmp_path / "ours", {"a": torch.ones(2)}, {"k": 1})
    assert torch.equal(safetensors.torch.load_file(tmp_path / "ours")["a"], torch.ones(2))
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="foreign is not a file of imettk"):
        read_tensors(tmp_path / "foreign")


def test_a_damaged_model_or_prediction_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_tensors(path, {"a": torch.ones(20)}, {"fingerprint": "x"})
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged"):
        read_tensors(path)
