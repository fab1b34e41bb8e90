"""Files of `prepare` are whole or absent, and those that a training began with stay."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import TINY, run

from imettk.cli.main import main

HOLDER = """
import sys
from pathlib import Path
from imettk.tracking.lock import hold_folder
with hold_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def refused(capsys, *words: object, code: int = 2) -> str:
    """The one line with which a command is refused."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ending:
        main(list(map(str, words)))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("imettk: ")]
    assert ending.value.code == code and len(lines) == 1
    return lines[0]


@pytest.fixture(scope="module")
def trained(digits_data, tmp_path_factory) -> Path:
    """A run folder whose first fold has begun, only read."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    at = ["--data", digits_data / "data", "--run-dir", folder]
    run("prepare", "digits", *at, *TINY)
    run("train", "digits", *at, *TINY, "--fold", 0, "--session.limit-steps", 1)
    return folder


@pytest.fixture
def begun(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_prepare_in_a_folder_whose_training_has_begun_does_not_touch_its_folds(begun, digits_data):
    path = begun / "folds.csv"
    before = path.stat().st_mtime_ns, path.stat().st_ino
    run("prepare", "digits", "--data", digits_data / "data", "--run-dir", begun, *TINY)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


@pytest.mark.parametrize("left", ["nothing", "half a line", "half", "no file"])
def test_folds_that_were_cut_are_made_anew_and_the_training_goes_on(begun, digits_data, capsys, left):
    """As a kill or a full disk left them in versions that wrote them in place."""
    path, at = begun / "folds.csv", ["digits", "--data", digits_data / "data", "--run-dir", begun, *TINY]
    whole = path.read_bytes()
    if left == "no file":
        path.unlink()
    else:
        path.write_bytes({"nothing": b"", "half a line": whole[:5], "half": whole[: len(whole) // 2]}[left])
    line = refused(capsys, "train", *at, "--fold", 0)
    assert "folds.csv" in line and "imettk prepare" in line
    run("prepare", *at)
    assert "was cut or is gone" in capsys.readouterr().out and path.read_bytes() == whole
    run("train", *at, "--fold", 0)
    assert "continues at step 1" in capsys.readouterr().out


def test_folds_of_other_rows_are_not_taken_for_cut_ones(begun, own_data, capsys):
    table = own_data / "train.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([lines[0], *lines[2:]]))
    line = refused(capsys, "prepare", "digits", "--data", own_data, "--run-dir", begun, *TINY)
    assert "belongs to another table (72 ids against 71)" in line


@pytest.mark.parametrize("name", ["folds.csv", "table.json", "recipe.json"])
def test_a_full_disk_leaves_what_was_there(begun, digits_data, capsys, monkeypatch, name):
    before = {path.name: path.read_bytes() for path in begun.glob("*.*") if path.is_file()}
    fsync = os.fsync

    def full(file: int) -> None:
        if os.readlink(f"/proc/self/fd/{file}").rpartition("/")[2].startswith(f".{name}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(file)

    (begun / "folds.csv").write_bytes(before["folds.csv"][:-4])  # so that there is something to write
    monkeypatch.setattr(os, "fsync", full)
    line = refused(capsys, "prepare", "digits", "--data", digits_data / "data", "--run-dir", begun, *TINY, code=1)
    assert "No space left on device" in line
    monkeypatch.undo()
    after = {path.name: path.read_bytes() for path in begun.glob("*.*") if path.is_file()}
    assert after[name] == (before[name] if name != "folds.csv" else before[name][:-4])
    assert not list(begun.glob("*.tmp")) and not list(begun.glob(".*.tmp"))


def test_two_at_once_in_one_folder_are_refused(digits_data, tmp_path, capsys):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        line = refused(capsys, "prepare", "digits", "--data", digits_data / "data", "--run-dir", tmp_path, *TINY)
        assert f"is in use by process {holder.pid}" in line
        holder.communicate("")
