"""`preflight`, `status` and `pull` as they are typed: sessions that are waited for, and outputs that are late."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import PATIENCE
from kaggle_box import Fault, Job, KaggleBox, Patience, fast_patience
from tiny import kaggle_command as command

from imettk.kaggle import account as account_module
from imettk.kaggle import client
from imettk.kaggle.outputs import OUTPUT, write_output_list

REFERENCE = "me/imettk-digits-preflight"
PREFLIGHT = ["preflight", "digits", "--competition", "cells"]


def preflight(job: Job, code: int | None = 0) -> str:
    """What a preflight leaves."""
    push = re.search(r'^PUSH = "(\w+)"', job.text, re.MULTILINE)
    assert push is not None
    job.log.write_text("first line\nlast line\n")
    found = {"recipe": "digits", "device": "cuda", "seconds_a_fold": 36000.0, "sessions_a_fold": 2}
    (job.working / "preflight.json").write_text(json.dumps(found))
    (job.working / "fold0").mkdir()
    (job.working / "fold0" / "model.safetensors").write_bytes(b"w" * 3_000_000)
    write_output_list(job.working, push=push[1], stage="preflight", code=code or 0, seconds=3.0)
    if code is None:  # as it stands at a session's start
        listed = json.loads((job.working / OUTPUT).read_text()) | {"code": None, "files": {}}
        (job.working / OUTPUT).write_text(json.dumps(listed))
    return "COMPLETE"


@pytest.fixture
def box(open_cells) -> KaggleBox:
    return open_cells(preflight)


def hold(box: KaggleBox, monkeypatch: pytest.MonkeyPatch, on_wait: Callable[[int], None]) -> threading.Event:
    """Sessions that run until the event is set; `on_wait` is called at every wait, with how many there were before."""
    event, waits = threading.Event(), 0
    run = box._run_kernel

    def held(job: Job) -> str:
        if "preflight" in job.slug:
            assert event.wait(PATIENCE)
        return run(job)

    def sleep(seconds: float) -> None:
        nonlocal waits
        if box.kernels:  # before, it is the pack that is waited for
            waits += 1
            on_wait(waits)

    box._run_kernel = held
    monkeypatch.setattr(client, "Patience", lambda: Patience(tries=6, sleep=sleep))
    return event


def stop(waits: int) -> None:
    raise KeyboardInterrupt


def leave(code: int) -> None:
    """In the place of the command line's end, which Python does not survive."""
    raise SystemExit(code)


def test_a_preflight_shows_what_its_session_does(box, monkeypatch, capsys):
    def on_wait(waits: int) -> None:
        if waits < 50:
            box.kernels[REFERENCE][0].status = "QUEUED" if waits < 15 else "RUNNING"
        else:
            event.set()
            box.wait()

    event = hold(box, monkeypatch, on_wait)
    box.processing_polls = 0
    command(*PREFLIGHT)
    text = capsys.readouterr().out
    lines = [line.removeprefix(f"{REFERENCE} version 1: ") for line in text.splitlines() if " version 1: " in line]
    assert [line for line in lines if line.startswith("QUEUED")][:2] == ["QUEUED", "QUEUED for 3 min"]
    # By its own time: it began to run a while after the push.
    assert [line for line in lines if line.startswith("RUNNING")][-3:] == ["RUNNING", "RUNNING for 3 min",
                                                                           "RUNNING for 6 min"]  # fmt: skip
    assert "a fold takes about 10.0 h on cuda" in text


def test_ctrl_c_says_that_the_session_goes_on_and_the_same_command_waits_again(box, monkeypatch, capsys):
    event = hold(box, monkeypatch, stop)
    box.processing_polls = 0
    monkeypatch.setattr("imettk.cli.main._leave", leave)
    command(*PREFLIGHT, code=1)
    text = capsys.readouterr().out
    hints = re.findall(r"`imettk kaggle (.*?)`", text.splitlines()[-1])
    assert "the session goes on: " in text and [hint.split()[0] for hint in hints] == ["status", "pull"]
    monkeypatch.setattr(client, "Patience", lambda: Patience(tries=6, sleep=lambda seconds: (event.set(), box.wait())))
    command(*hints[0].split())
    assert re.search(r"version 1: RUNNING, run at \d\d \w{3} \d\d:\d\d UTC", capsys.readouterr().out)
    command(*PREFLIGHT)
    text = capsys.readouterr().out
    assert "version 1 is RUNNING, with the same recipe: waiting for it" in text and "everything works there" in text
    assert len(box.kernels[REFERENCE]) == 1
    Path("runs/kaggle/preflight.json").unlink()
    command(*hints[1].split())
    assert Path("runs/kaggle/preflight.json").is_file()  # where a chain looks for it


@pytest.mark.parametrize("other", ["recipe", "folder"])
def test_a_second_preflight_is_not_pushed_beside_one_that_runs(box, monkeypatch, capsys, other):
    event = hold(box, monkeypatch, stop)
    box.processing_polls = 0
    monkeypatch.setattr("imettk.cli.main._leave", leave)
    command(*PREFLIGHT, code=1)
    words = ["--stages.0.num-epochs", "3"] if other == "recipe" else ["--run-dir", "runs/other"]
    command(*PREFLIGHT, *words, code=2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"{REFERENCE} version 1 is RUNNING: no second preflight of this name" in error
    assert len(box.kernels[REFERENCE]) == 1
    event.set()
    box.wait()
    monkeypatch.setattr(client, "Patience", fast_patience)
    command(*PREFLIGHT, *words)
    assert len(box.kernels[REFERENCE]) == 2


@pytest.mark.parametrize("kind", ["failed", "killed", "error", "code 1"])
def test_a_listing_of_an_older_preflight_is_not_taken_for_its_own(box, monkeypatch, capsys, kind):
    """The first one works; the second fails, and its listing is out of date at first."""
    command(*PREFLIGHT)
    Path("runs/kaggle/preflight.json").unlink()

    def fail(job: Job) -> str:
        preflight(job, {"killed": None, "code 1": 1}.get(kind, 0))
        job.log.write_text("the end of its log\n")
        if kind == "failed":
            (job.working / OUTPUT).unlink()
        return "COMPLETE" if kind == "code 1" else "ERROR"

    box._run_kernel = fail
    stale = box._list_kernel_session_output({"userName": "me", "kernelSlug": REFERENCE[3:], "versionLabel": "v1"})
    box.faults.add("ListKernelSessionOutput", Fault(200, body=json.dumps(stale).encode()), times=2)
    monkeypatch.setattr(account_module, "UNSURE_LISTED_SECONDS", 45.0)
    command(*PREFLIGHT, code=1)
    output = capsys.readouterr()
    assert "the preflight has failed" in output.err and "  | the end of its log" in output.out
    assert "everything works there" not in output.out.split("version 2")[1]


def test_an_output_that_is_late_is_no_failure(box, capsys):
    command(*PREFLIGHT)
    stale = box._list_kernel_session_output({"userName": "me", "kernelSlug": REFERENCE[3:], "versionLabel": "v1"})
    for body in (b"{}", json.dumps(stale).encode()):
        box.faults.add("ListKernelSessionOutput", Fault(200, body=body), times=10)
    command(*PREFLIGHT)
    assert capsys.readouterr().out.count("everything works there") == 2
    pushes = json.loads(Path("runs/kaggle/pushes.json").read_text())
    assert json.loads((box.kernels[REFERENCE][1].job.working / OUTPUT).read_text())["push"] == pushes[REFERENCE]["push"]


def test_an_output_that_never_comes_is_told_as_such(box, capsys):
    box.faults.add("ListKernelSessionOutput", Fault(200, body=b"{}"), times=1000)
    command(*PREFLIGHT, code=1)
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the preflight is COMPLETE, but its output is not listed after 15 minutes" in error
    box.faults._laid.clear()
    hint = re.search(r"`imettk kaggle (.*?)`", error)
    assert hint is not None
    command(*hint[1].split())
    assert Path("runs/kaggle/preflight.json").is_file()


def test_a_status_and_a_look_up_that_say_no_in_passing_end_nothing(box):
    for code in (403, 404, 401):
        box.faults.add("GetKernelSessionStatus", Fault(code))
    command(*PREFLIGHT)
    assert len(box.kernels[REFERENCE]) == 1


@pytest.mark.parametrize("word", ["me", "me/", "me/x/", "me/x/0", "me/x/00", "me/x/v1", "me/x/1/2", "me/x/\u00b2"])
def test_what_is_no_kernel_is_told(box, capsys, word):
    command("status", word, code=2)
    assert f"{word!r} is no kernel: it is written OWNER/SLUG or OWNER/SLUG/VERSION" in capsys.readouterr().err


def test_a_kernel_that_was_pushed_elsewhere_is_taken_in_its_current_version(box, capsys):
    for _ in range(2):
        command(*PREFLIGHT)
    words = ["--run-dir", "runs/empty"]
    capsys.readouterr()
    command("status", REFERENCE, *words)
    text = capsys.readouterr().out
    assert f"{REFERENCE} was not pushed from runs/empty: version 2 is taken, the current one of the platform" in text
    assert re.search(r"version 2: COMPLETE, run at \d\d \w{3} \d\d:\d\d UTC\n", text)
    command("status", f"{REFERENCE}/1", *words)
    assert f"{REFERENCE} version 1: COMPLETE\n" in capsys.readouterr().out  # of the current version alone it is known
    box.faults.add("GetKernel", Fault(400))
    command("status", REFERENCE)  # when it was run is no reason to fail
    assert f"{REFERENCE} version 2: COMPLETE\n" in capsys.readouterr().out
    command("pull", REFERENCE, "--out", "there", *words)
    text = capsys.readouterr().out
    assert "version 2 is taken" in text and f"there: 2 files of {REFERENCE} version 2, 3.0 MB, verified" in text
    command("submit", "cells", "preflight.json", "--kernel", REFERENCE, *words)
    assert "version 2 is taken" in capsys.readouterr().out and len(box.submissions) == 1
    for odd in (b"{}", b'{"metadata": {"currentVersionNumber": "?"}}', b"<html>"):
        box.faults.add("GetKernel", Fault(200, body=odd), times=6)
        command("status", REFERENCE, *words, code=1)
        assert "Kaggle's answer cannot be read" in capsys.readouterr().err
        box.faults._laid.clear()


@pytest.mark.parametrize("words", [[REFERENCE], [f"{REFERENCE}/2"], [REFERENCE, "--run-dir", "runs/empty"]])
def test_a_pull_waits_for_the_listing_of_its_own_push(box, words):
    for _ in range(2):
        command(*PREFLIGHT)
    stale = box._list_kernel_session_output({"userName": "me", "kernelSlug": REFERENCE[3:], "versionLabel": "v1"})
    box.faults.add("ListKernelSessionOutput", Fault(200, body=json.dumps(stale).encode()), times=10)
    command("pull", *words, "--out", "out")
    pushes = json.loads(Path("runs/kaggle/pushes.json").read_text())
    assert json.loads(Path("out", OUTPUT).read_text())["push"] == pushes[REFERENCE]["push"]


def test_a_part_of_an_output_can_be_pulled(box, capsys):
    command(*PREFLIGHT)
    capsys.readouterr()
    command("pull", REFERENCE, "--out", "out", "--only", "fold*/model.safetensors")
    text = capsys.readouterr().out
    assert "out: 1 file of" in text and "3.0 MB, verified" in text and "; left out: 1 file, 0.0 MB" in text
    assert [path.name for path in Path("out").rglob("*") if path.is_file()] == ["model.safetensors"]
    command("pull", REFERENCE, "--out", "out", "--only", "fold*/checkpoints/*", "*.csv", code=2)
    error = capsys.readouterr().err
    assert "no such file in the output" in error and "which has fold0/model.safetensors, preflight.json" in error
    command("pull", REFERENCE, "--out", "out")
    assert "left out" not in capsys.readouterr().out and Path("out/preflight.json").is_file()


@pytest.mark.parametrize("content", ["[]", "{", '{"me/x": 3}', '{"me/x": {"version": "1", "push": "p"}}'])
def test_damaged_memories_are_one_line_and_push_nothing(box, capsys, content):
    Path("runs/kaggle").mkdir(parents=True)
    Path("runs/kaggle/pushes.json").write_text(content)
    for words in (["status", REFERENCE], PREFLIGHT, ["push", "prepare", "digits", "--competition", "cells"]):
        command(*words, code=2)
        assert "pushes.json is damaged" in capsys.readouterr().err
    assert not box.kernels


def test_of_two_pulls_into_a_folder_the_second_waits(box, capsys, monkeypatch):
    """Each would go on with the parts of the other, and remove them."""
    command(*PREFLIGHT)
    holder = "import sys; from imettk.kaggle.versions import hold_upload; from pathlib import Path\n"
    holder += "with hold_upload(Path('out')): print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", holder], **pipes) as process:
        assert process.stdout.readline()

        def sleep(seconds: float) -> None:
            assert not Path("out").exists()
            process.communicate()

        monkeypatch.setattr(client, "Patience", lambda: Patience(tries=6, sleep=sleep))
        command("pull", REFERENCE, "--out", "out")
    assert f"out is in use by process {process.pid}; waiting\n" in capsys.readouterr().out
    assert Path("out/preflight.json").is_file()


def test_a_stage_that_failed_in_a_complete_session_is_told(box, capsys):
    """Its kernel ends well whatever its stage did, so that the platform keeps its output."""
    box._run_kernel = lambda job: preflight(job, 2)
    command(*PREFLIGHT, code=1)
    capsys.readouterr()
    fault = "but preflight ended with code 2"
    command("status", REFERENCE)
    assert f"version 1: COMPLETE, {fault}, run at" in capsys.readouterr().out
    command("pull", REFERENCE, "--out", "out")
    assert f", {fault}" in capsys.readouterr().out
    command("follow", REFERENCE, code=1)
    assert f"version 1: COMPLETE, {fault}\n" in capsys.readouterr().out
    box.faults.add("ListKernelSessionOutput", Fault(500), times=20)
    command("status", REFERENCE)  # nothing is known of it now
    assert "version 1: COMPLETE, run at" in capsys.readouterr().out


def test_what_a_killed_session_left_is_pulled_and_said_to_be_unverified(box, capsys):
    box._run_kernel = lambda job: "CANCEL_ACKNOWLEDGED" if preflight(job, None) else ""
    command(*PREFLIGHT, code=1)
    capsys.readouterr()
    command("pull", REFERENCE, "--out", "out", "--only", "fold*")
    text = capsys.readouterr().out
    assert "3.0 MB, NOT verified, for the session was ended" in text and Path("out/fold0/model.safetensors").is_file()
