"""Checkpoints are whole or not there, whatever happens to the file."""

import hashlib
import subprocess

import pytest
import safetensors.torch
import torch

from imettk.errors import CheckpointError
from imettk.tracking.tensors import read_tensors, save_tensors
from imettk.training.checkpoint import load_newest, save_checkpoint


def save_steps(folder, *steps):
    for step in steps:
        save_checkpoint(folder, step, {"model.weight": torch.full((3,), float(step))}, {"step": step})


@pytest.fixture
def warnings() -> list[str]:
    return []


def test_round_trip_and_only_the_newest_two_stay(tmp_path, warnings):
    save_steps(tmp_path, 1, 2, 10)
    checkpoint = load_newest([tmp_path], warnings.append)
    assert checkpoint.values == {"step": 10}
    assert torch.equal(checkpoint.part("model")["weight"], torch.full((3,), 10.0))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"step-{step:08d}.{kind}" for step in (2, 10) for kind in ("safetensors", "sha256")]
    assert warnings == []


def test_the_digest_is_one_that_sha256sum_checks(tmp_path):
    save_steps(tmp_path, 7)
    subprocess.run(["sha256sum", "--check", "step-00000007.sha256"], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("fault", ["truncated", "bit flipped", "no digest", "empty digest", "emptied"])
def test_a_bad_newest_falls_back_to_the_one_before_and_says_so(tmp_path, warnings, fault):
    save_steps(tmp_path, 1, 2)
    newest, digest = tmp_path / "step-00000002.safetensors", tmp_path / "step-00000002.sha256"
    content = bytearray(newest.read_bytes())
    if fault == "truncated":
        newest.write_bytes(content[:-5])
    elif fault == "bit flipped":
        content[-1] ^= 1
        newest.write_bytes(content)
    elif fault == "no digest":
        digest.unlink()
    elif fault == "empty digest":
        digest.write_text("")
    else:
        newest.write_bytes(b"")
    assert load_newest([tmp_path], warnings.append).values == {"step": 1}
    assert len(warnings) == 1 and str(newest) in warnings[0]


def test_all_bad_is_an_error_and_nothing_is_removed(tmp_path, warnings):
    save_steps(tmp_path, 1, 2)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"x")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints is valid"):
        load_newest([tmp_path], warnings.append)
    assert sorted(tmp_path.iterdir()) == before


def test_the_newest_of_several_folders_wins_and_none_is_none(tmp_path, warnings):
    save_steps(tmp_path / "a", 5)
    save_steps(tmp_path / "b", 6)
    assert load_newest([tmp_path / "b", tmp_path / "a"], warnings.append).values == {"step": 6}
    assert load_newest([tmp_path / "absent"], warnings.append) is None


def test_a_kill_between_write_and_rename_leaves_the_older_one(tmp_path, warnings, monkeypatch):
    save_steps(tmp_path, 1)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("imettk.tracking.files.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_steps(tmp_path, 2)
    assert load_newest([tmp_path], warnings.append).values == {"step": 1}


def test_equal_content_gives_equal_bytes(tmp_path):
    tensors = {f"t{number}": torch.arange(number + 1.0) for number in range(20)}
    values = {"b": 1, "a": [1.5, None], "c": {"y": 1, "x": 2}}
    digests = {
        save_tensors(tmp_path / "one", tensors, values),
        save_tensors(tmp_path / "two", dict(reversed(tensors.items())), values),
    }
    assert len(digests) == 1
    assert hashlib.sha256((tmp_path / "one").read_bytes()).hexdigest() in digests


def test_any_safetensors_reader_can_read_it_and_a_foreign_file_is_refused(tmp_path):
    save_tensors(tmp_path / "ours", {"a": torch.ones(2)}, {"k": 1})
    assert torch.equal(safetensors.torch.load_file(tmp_path / "ours")["a"], torch.ones(2))
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="foreign is not a file of imettk"):
        read_tensors(tmp_path / "foreign")
