"""A full disk, and paths that cannot be: one line and an exit code from every command, never a traceback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import code_of

from imettk.cli import options
from imettk.cli.main import main

resource = pytest.importorskip("resource")
SMALL = ["--model.backbone", "timm:test_resnet", "--images.image-size", "32", "32", "--stages.0.num-epochs", "1"]


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Keep every file from growing, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the error line after the progress bars; fail on a traceback."""
    text = capsys.readouterr().err
    assert "Traceback" not in text and "Error:" not in text
    line = text.rstrip("\n").split("\n")[-1]
    assert line.startswith("imettk: "), text
    return line


@pytest.fixture(scope="module")
def trained(digits_data, tmp_path_factory) -> Path:
    """Make a run folder with everything up to the answers, and beside it one that is only prepared."""
    folder = tmp_path_factory.mktemp("faults")
    at = ["--data", str(digits_data / "data"), "--run-dir"]
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN  # Python's own choice: the system's no is an OSError
    main(["prepare", "digits", *at, str(folder / "run"), *SMALL, "--stages.0.warmup-epochs", "0"])
    shutil.copytree(folder / "run", folder / "prepared")
    for stage in ("train", "validate", "infer"):
        main([stage, *at, str(folder / "run")])
    shutil.copytree(folder / "run", folder / "again")
    return folder


def words_of(command: str, trained: Path, data: Path) -> list[object]:
    """Return a command that writes, and a run folder in which it can."""
    run = trained / "run"
    own: dict[str, list[object]] = {
        "prepare": ["digits", *SMALL, "--stages.0.warmup-epochs", "0"],
        "train": ["--run-dir", trained / "prepared", "--fold", "0"],
        "ensemble": ["--members", run, trained / "again", "--run-dir", trained / "ensemble"],
        "soup": ["--members", run, trained / "again", "--run-dir", trained / "soup"],
        "pseudo": ["--confidence", "0.5"],
        "neighbours": ["--classifier", run, "--features", run],
        "import": ["--oof", data / "train.csv"],
        "report": [run],
        "new": ["mine", "--data", data],
        "demo": ["--run-dir", trained / "demo"],
        "weights": ["timm:test_resnet", "--out", trained / "weights"],
        "log": ["--store", trained / "log", "note", run, "a note"],
        "kaggle pack": ["--out", trained / "pack"],
        "dry run": ["--dry-run"],
    }
    words: list[object] = command.split() if command != "dry run" else ["train"]
    if words[0] in options.COMMANDS:
        words += ["--data", data, "--run-dir", run]
    return words + own.get(command, [])


COMMANDS = [
    "prepare", "duplicates", "preflight", "train", "dry run", "validate", "infer", "ensemble", "soup",
    "pseudo", "export", "report", "new", "demo", "log", "kaggle pack",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_is_full(command, trained, digits_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    words = words_of(command, copy, digits_data / "data")
    with full_disk():
        code = code_of(*words)
    line = last_line(capsys)
    assert ("File too large" in line or "disk" in line) and "IMETTK_TRACEBACK" not in line
    assert code == (2 if command == "report" else 1)  # which may go somewhere else


@pytest.mark.parametrize("command", [command for command in options.COMMANDS if command != "neighbours"])
@pytest.mark.parametrize("where", ["a file", "below a file", "nowhere"])
def test_a_run_folder_that_cannot_be(command, where, trained, digits_data, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    run_dir = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "run", "nowhere": Path("/proc/nope")}
    words = words_of(command, trained, digits_data / "data")
    words = [word for word in words if word not in ("--run-dir", trained / "run", trained / "prepared")]
    if command in ("ensemble", "soup"):
        words += ["--members", trained / "run", trained / "again"]
    assert code_of(*words, "--inputs", trained / "run", "--run-dir", run_dir[where]) == 2
    line = last_line(capsys)
    assert str(run_dir[where]) in line or str(tmp_path / "file") in line
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is missing"),
        ("id\nt00000\n", "has no column attribute_ids"),
        ("id,attribute_ids\nt00000,1\n", "no answer for 23 ids"),
    ],
)
def test_answers_that_cannot_be_scored_are_found_before_any_prediction(
    content, says, trained, digits_data, tmp_path, monkeypatch, capsys
):
    shutil.copytree(trained / "run", tmp_path / "run")
    if content is not None:
        (tmp_path / "answers.csv").write_text(content)
    monkeypatch.setattr("imettk.commands.infer.predict_in_time", lambda *_, **__: pytest.fail("predicts"))
    at = ["--data", digits_data / "data", "--run-dir", tmp_path / "run"]
    assert code_of("infer", *at, "--answers", tmp_path / "answers.csv") == 2
    line = last_line(capsys)
    assert line.startswith(f"imettk: {tmp_path / 'answers.csv'}") and says in line
    assert code_of("infer", *at, "--answers", tmp_path / "answers.csv", "--images", tmp_path) == 2
    assert "--answers belong to the test set's table" in last_line(capsys)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"recipe": 3, "kind": "x"}'])
@pytest.mark.parametrize("name", ["table.json", "rule.json", "recipe.json", "scores.json"])
def test_a_damaged_file_of_the_run_folder(name, content, trained, digits_data, tmp_path, capsys):
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(content)
    stage = "validate" if name == "table.json" else "infer"
    at = ["--data", digits_data / "data", "--run-dir", tmp_path / "run", "--answers", digits_data / "answers.csv"]
    words = [stage, *at[: 6 if stage == "infer" else 4]]
    if (name, content[:1]) == ("scores.json", b"{"):
        main([str(word) for word in words])  # it takes one more value, whatever it holds
        return
    assert code_of(*words) == 2
    line = last_line(capsys)
    assert name in line or (name, content) == ("recipe.json", b"{}")  # which is a recipe, and another one


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["train", "digits", "--fields"], ["--help"]])
def test_whoever_reads_a_part_only_is_told_nothing(words, unbuffered):
    """Close the reading end at once, as `imettk ... | head -0` does."""
    command, environment = [sys.executable, "-m", "imettk", *words], os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in ((0, 1) if words == ["--help"] else (1,))  # argparse may pass over it
