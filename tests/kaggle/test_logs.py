"""The log of a running session: every line once and in order, however often the connection breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from kaggle_box import Fault, Job, KaggleBox, fast_patience

from imettk.cli.main import main
from imettk.errors import PlatformError
from imettk.kaggle import client, logs
from imettk.kaggle.chain_state import RUNNING, Chain, read_chain
from imettk.kaggle.client import Kaggle
from imettk.kaggle.kernel import Kernel
from imettk.kaggle.logs import follow, follow_all
from imettk.kaggle.sessions import push_kernel

LINES = [f"line {number}: ä 日" for number in range(6)]


class Session:
    """A session that writes one line for each call of `go`."""

    def __init__(self) -> None:
        self._more, self._written = threading.Semaphore(0), threading.Semaphore(0)
        self.lines: list[str] = []

    def __call__(self, job: Job) -> str:
        for text in LINES:
            self._more.acquire()
            with open(job.log, "a", encoding="utf-8") as file:
                file.write(text + "\n")
        self._more.acquire()
        return "COMPLETE"

    def go(self, times: int = 1) -> None:
        self._more.release(times)

    def line(self, text: str) -> None:
        """Take a line and have the next one written, so that each must come while the session runs."""
        self.lines.append(text)
        self.go()


@pytest.fixture
def begin(make_box) -> Callable[..., tuple[KaggleBox, Kaggle]]:
    """A function that makes a box with a running session, and an account."""

    def make(run: Callable[[Job], str]) -> tuple[KaggleBox, Kaggle]:
        box, kaggle = make_box(run), Kaggle(fast_patience())
        push(box, kaggle, "me/imettk-cells-f0-s1")
        return box, kaggle

    return make


def push(box: KaggleBox, kaggle: Kaggle, reference: str) -> None:
    box.add_dataset("me/imettk-pack", Path())
    kernel = Kernel(reference=reference, command="train", recipe="digits", competition="cells")
    assert push_kernel(kaggle, kernel).version == 1


def asked(box: KaggleBox) -> list[str]:
    return [method for method, _ in box.requests]


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [Fault(0), Fault(0), Fault(0)],
        [Fault(200, cut=True), Fault(0), Fault(200, cut=True)],
        [Fault(404), Fault(501)],
        [Fault(0), Fault(503), Fault(429), Fault(403), Fault(200, cut=True)],
        [Fault(404)] * 100,
        [Fault(501)] * 100,
    ],
)
def test_every_line_comes_once_and_while_the_session_runs(begin, faults):
    session = Session()
    box, kaggle = begin(session)
    for fault in faults:
        box.faults.add("LOGS", fault)
    session.go()
    assert follow(kaggle, "me/imettk-cells-f0-s1", 1, session.line) == "COMPLETE"
    assert session.lines == LINES
    if len(faults) == 100:  # without any stream: the lines come from the log beside the output
        assert asked(box).count("ListKernelSessionOutput") >= len(LINES)
    elif not faults:
        assert "ListKernelSessionOutput" not in asked(box)


def test_the_log_of_a_session_that_has_ended_is_complete(begin):
    def run(job: Job) -> str:
        job.log.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
        return "ERROR"

    box, kaggle = begin(run)
    box.wait()
    for faults in ([], [Fault(404)]):
        for fault in faults:
            box.faults.add("LOGS", fault)
        lines: list[str] = []
        assert follow(kaggle, "me/imettk-cells-f0-s1", 1, lines.append) == "ERROR"
        assert lines == LINES


def test_following_waits_for_a_queued_session(begin, monkeypatch):
    session = Session()
    session.go(len(LINES) + 1)
    box, kaggle = begin(session)
    box.wait()
    (version,) = box.kernels["me/imettk-cells-f0-s1"]
    version.status, slept = "QUEUED", []

    def sleep(seconds: float) -> None:
        slept.append(asked(box).count("LOGS"))
        version.status = "COMPLETE"

    monkeypatch.setattr(kaggle, "patience", client.Patience(sleep=sleep))
    assert follow(kaggle, "me/imettk-cells-f0-s1", 1, session.line) == "COMPLETE"
    assert session.lines == LINES and slept == [0]


def test_a_silent_connection_is_closed(begin, monkeypatch):
    """Each read has a time limit; the log continues after the lines that came."""
    session = Session()
    box, _ = begin(session)
    impatient = Kaggle(client.Patience(answer_seconds=0.2, sleep=lambda seconds: session.go(3)))
    session.go()
    assert follow(impatient, "me/imettk-cells-f0-s1", 1, session.lines.append) == "COMPLETE"
    assert session.lines == LINES and asked(box).count("LOGS") > 1


def test_a_missing_kernel_is_one_line(begin):
    _, kaggle = begin(lambda job: "COMPLETE")
    with pytest.raises(PlatformError, match="404"):
        follow(kaggle, "me/other", 1, print)
    with pytest.raises(PlatformError, match="404"):
        follow_all(kaggle, {"a": ("me/imettk-cells-f0-s1", 1), "b": ("me/other", 1)}, print)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('{"stream_name": "stdout", "time": 1.0, "data": "one\\n"}', ["one"]),
        ('[{"data": "one\\n"}, {"data": "two"}, {"data": null}, {}, "three"]', ["one", "two", "three"]),
        ('{"data": "one\\ntwo\\n\\n"}', ["one", "two", ""]),
        ('{"data": "10%\\r20%\\r\\n"}', ["20%"]),
        ("no JSON\nat all\n", ["no JSON", "at all"]),
        ("[]", []),
    ],
)
def test_pieces_of_a_log_become_lines(text, lines):
    assert list(logs._lines(logs._pieces(text))) == lines


def command(*words: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["kaggle", *map(str, words)])
    assert ending.value.code == code


@pytest.fixture
def chain(begin, tmp_path, monkeypatch) -> KaggleBox:
    """A chain with two running sessions, and one that is still to be pushed."""

    def run(job: Job) -> str:
        job.log.write_text("begins\nends\n")
        return "COMPLETE" if "f0" in job.slug else "ERROR"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "Patience", fast_patience)
    box, kaggle = begin(run)
    push(box, kaggle, "me/imettk-cells-f1-s1")
    chain = Chain("cells", "me", "digits", "cells", [0, 1, 2], ["me/imettk-pack/1"], ["cells"], "abc")
    for fold in (0, 1, 2):
        job = chain.add("train", fold, [], gpu=True)
        job.state, job.version = RUNNING, int(fold < 2)
    chain.save(tmp_path / "runs" / "kaggle")
    return box


def test_a_chain_is_followed_with_the_name_of_each_session(chain, capsys):
    command("follow", code=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("f0-s1: ")] == ["f0-s1: begins", "f0-s1: ends"]
    assert [line for line in lines if line.startswith("f1-s1: ")] == ["f1-s1: begins", "f1-s1: ends"]
    assert {"me/imettk-cells-f0-s1 version 1: COMPLETE", "me/imettk-cells-f1-s1 version 1: ERROR"} == set(lines[-2:])


def test_one_kernel_is_followed_without_a_name(chain, capsys):
    command("follow", "me/imettk-cells-f0-s1/1")
    assert capsys.readouterr().out.splitlines() == ["begins", "ends", "me/imettk-cells-f0-s1 version 1: COMPLETE"]


def test_a_kernel_of_the_chain_needs_no_version(chain, capsys):
    command("follow", "me/imettk-cells-f0-s1")
    assert capsys.readouterr().out.splitlines() == ["begins", "ends", "me/imettk-cells-f0-s1 version 1: COMPLETE"]


def test_chains_of_a_queue_are_followed_together(chain, capsys):
    read = read_chain(Path("runs/kaggle"))
    assert read is not None
    for name in ("cells", "whales"):
        replace(read, name=name).save(Path("runs/queue") / name)
    command("follow", "--run-dir", "runs/queue", code=1)
    lines = capsys.readouterr().out.splitlines()
    assert {"cells f0-s1: begins", "whales f1-s1: ends"} <= set(lines)


def test_a_folder_without_sessions_is_one_line(chain, capsys):
    command("follow", "--run-dir", "runs/other", code=2)
    assert capsys.readouterr().err == (
        "imettk: runs/other has no chain with a running session: name a kernel, OWNER/SLUG\n"
    )


def test_after_ctrl_c_the_sessions_go_on(chain, capsys, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(logs, "follow_all", interrupt)
    command("follow", "me/imettk-cells-f0-s1/1", code=1)
    command("follow", code=1)
    assert capsys.readouterr().out.splitlines() == [
        "me/imettk-cells-f0-s1 goes on; the same command shows the log again",
        "me/imettk-cells-f0-s1, me/imettk-cells-f1-s1 go on; the same command shows the log again",
    ]
    assert not chain.deleted
