"""Checkpoints are whole or not there, whatever happens to the file."""

import errno
import hashlib
import json
import resource
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from training_faults import EVERY_STEP, events, same, weights

from imettk.errors import CheckpointError
from imettk.tracking.journal import read_journal
from imettk.training.checkpoint import CheckpointWriter, load_newest, save_checkpoint


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


def test_a_disk_that_is_really_full_is_told_and_the_older_checkpoint_counts(make_trainer, tmp_path, capsys):
    """A limit on the size of files is what a quota does; the library's own error is no OSError."""
    make_trainer(limit_steps=3).fit()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, before[1]))
    try:
        assert make_trainer(limit_steps=2).fit() is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    failed = [one for one in read_journal(tmp_path / "run" / "journal.jsonl") if one["event"] == "checkpoint_failed"]
    assert [one["step"] for one in failed] == [5]
    assert "no checkpoint at step 5" in capsys.readouterr().out
    assert make_trainer().at.step == 3


def test_a_fault_of_the_program_in_the_writer_is_not_lost(tmp_path):
    writer = CheckpointWriter(tmp_path, on_done=lambda step, seconds: None, on_failure=lambda step, error: None)
    writer.write(1, {"model.a": torch.zeros(2)}, {"no": object()})
    with pytest.raises(TypeError, match="not JSON serializable"):
        writer.wait()
    writer.wait()


def test_a_checkpoint_of_the_same_step_takes_the_place_of_the_first_without_a_gap(tmp_path, monkeypatch):
    """One that owes its validation is followed by one that does not: killed in between, one of them is there."""
    import imettk.files as files

    save_checkpoint(tmp_path, 3, {"model.a": torch.zeros(2)}, {"turn": 1})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 3, {"model.a": torch.ones(2)}, {"turn": 2})
    assert load_newest([tmp_path], warn=pytest.fail).values == {"turn": 1}
    monkeypatch.undo()
    save_checkpoint(tmp_path, 3, {"model.a": torch.ones(2)}, {"turn": 2})
    assert load_newest([tmp_path], warn=pytest.fail).values == {"turn": 2}


def test_what_a_killed_writer_left_is_removed(make_trainer, tmp_path):
    make_trainer(limit_steps=1).fit()
    folder = tmp_path / "run" / "checkpoints"
    before = set(folder.iterdir())
    for name in (".step-00000002.safetensors.123.tmp", ".tmpaTpkNC"):  # ours; and safetensors' own, beside it
        (folder / name).write_bytes(b"half")
    make_trainer()
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize("fault", ["no room", "full while writing"])
def test_a_full_disk_does_not_stop_the_run(make_trainer, tmp_path, monkeypatch, capsys, fault):
    folder = tmp_path / "run" / "checkpoints"
    make_trainer(limit_steps=3).fit()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    if fault == "no room":
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
    else:

        def full(tensors, path, header):
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(safetensors.torch, "save_file", full)
    trainer = make_trainer(session=EVERY_STEP)
    assert trainer.fit() is None and trainer.at.step == 12
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert len(events(tmp_path, "checkpoint_failed")) >= 9
    assert "the run goes on, the one before is intact" in capsys.readouterr().out
    monkeypatch.undo()
    whole = make_trainer("whole")
    whole.fit()
    resumed = make_trainer()
    assert resumed.at.step == 3
    resumed.fit()
    assert same(weights(whole), weights(resumed))


def test_on_a_nearly_full_disk_older_checkpoints_make_room(make_trainer, tmp_path, monkeypatch):
    folder = tmp_path / "run" / "checkpoints"
    make_trainer(limit_steps=3, session=EVERY_STEP).fit()
    usage = shutil.disk_usage(tmp_path)

    def nearly_full(path):
        return usage._replace(free=usage.free if len(list(folder.glob("*.safetensors"))) < 2 else 1000)

    monkeypatch.setattr("shutil.disk_usage", nearly_full)
    make_trainer(limit_steps=1).fit()
    assert sorted(path.name for path in folder.glob("*.safetensors")) == [
        "step-00000003.safetensors", "step-00000004.safetensors"
    ]  # fmt: skip
