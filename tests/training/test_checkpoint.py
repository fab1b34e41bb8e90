"""Checkpoints are whole or not there, whatever happens to the file."""

import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from imettk.errors import CheckpointError
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
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{step:08d}.safetensors" for step in (2, 10)]
    assert warnings == []


def test_the_digest_in_it_is_that_of_the_file_with_zeros_in_its_place(tmp_path):
    save_steps(tmp_path, 7)
    content = (tmp_path / "step-00000007.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    digest = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["imettk"])["sha256"]
    assert content.count(digest.encode()) == 1
    assert hashlib.sha256(content.replace(digest.encode(), b"0" * 64)).hexdigest() == digest


@pytest.mark.parametrize("fault", ["truncated", "longer", "bit flipped", "digest flipped", "emptied"])
def test_a_bad_newest_falls_back_to_the_one_before_and_says_so(tmp_path, warnings, fault):
    save_steps(tmp_path, 1, 2)
    newest = tmp_path / "step-00000002.safetensors"
    content = bytearray(newest.read_bytes())
    if fault == "truncated":
        content = content[:-5]
    elif fault == "longer":
        content += b"\0"
    elif fault == "bit flipped":
        content[-1] ^= 1
    elif fault == "digest flipped":
        content[content.index(b"sha256") + 12] ^= 1
    else:
        content.clear()
    newest.write_bytes(content)
    assert load_newest([tmp_path], warnings.append).values == {"step": 1}
    assert len(warnings) == 1 and str(newest) in warnings[0]


def save_as_before(folder: Path, step: int, *, digest: str | None = "right") -> Path:
    """A checkpoint as versions up to 0.1.0 wrote it: the SHA-256 in a file beside it."""
    path = folder / f"step-{step:08d}.safetensors"
    tensors = {"model.weight": torch.full((3,), float(step))}
    safetensors.torch.save_file(tensors, path, {"imettk": json.dumps({"step": step})})
    if digest is not None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if digest == "right" else digest
        path.with_suffix(".sha256").write_bytes(f"{digest}  {path.name}\n".encode("latin-1") if digest else b"")
    return path


def test_checkpoints_of_earlier_versions_are_read_and_make_way(tmp_path, warnings):
    save_as_before(tmp_path, 1)
    save_as_before(tmp_path, 2)
    assert load_newest([tmp_path], warnings.append).values == {"step": 2} and warnings == []
    save_steps(tmp_path, 2, 3)  # step 2 is written once more, as after its validation
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{step:08d}.safetensors" for step in (2, 3)
    ]  # fmt: skip


@pytest.mark.parametrize("fault", ["truncated", "bit flipped", "garbage in the digest"])
def test_one_of_an_earlier_version_that_differs_from_its_digest_is_damaged(tmp_path, warnings, fault):
    save_as_before(tmp_path, 1)
    newest = save_as_before(tmp_path, 2, digest="\xff garbage" if fault.startswith("garbage") else "right")
    content = bytearray(newest.read_bytes())
    if fault == "truncated":
        content.pop()
    elif fault == "bit flipped":
        content[-1] ^= 1
    newest.write_bytes(content)
    assert load_newest([tmp_path], warnings.append).values == {"step": 1}
    assert len(warnings) == 1 and "damaged" in warnings[0]


@pytest.mark.parametrize("digest", [None, ""])
def test_one_that_lost_its_digest_is_read_with_a_warning(tmp_path, warnings, digest):
    """Written by an earlier version that was killed between the file and its digest: it is whole."""
    newest = save_as_before(tmp_path, 2, digest=digest)
    assert load_newest([tmp_path], warnings.append).values == {"step": 2}
    assert len(warnings) == 1 and f"{newest} has lost its SHA-256" in warnings[0]


@pytest.mark.parametrize("fault", ["short", "not finite"])
def test_one_that_lost_its_digest_counts_only_whole_and_finite(tmp_path, warnings, fault):
    save_as_before(tmp_path, 1)
    newest = save_as_before(tmp_path, 2, digest=None)
    if fault == "short":
        newest.write_bytes(newest.read_bytes()[:-1])
    else:
        tensors = {"model.weight": torch.tensor([1.0, float("nan"), 1.0])}
        safetensors.torch.save_file(tensors, newest, {"imettk": json.dumps({"step": 2})})
    assert load_newest([tmp_path], warnings.append).values == {"step": 1}
    assert len(warnings) == 1 and str(newest) in warnings[0]


def test_a_damaged_one_does_not_count_among_those_that_are_kept(tmp_path, warnings):
    """Else a single good one would be left, and no fallback for it."""
    save_steps(tmp_path, 1, 2)
    (tmp_path / "step-00000002.safetensors").write_bytes(b"damaged")
    save_steps(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{step:08d}.safetensors" for step in (1, 3)
    ]  # fmt: skip


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

    monkeypatch.setattr("imettk.files.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_steps(tmp_path, 2)
    assert load_newest([tmp_path], warnings.append).values == {"step": 1}
