"""`preflight`, `status` and `pull` as typed: waiting for sessions, and for outputs that are late."""

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
from typed_preflights import PREFLIGHT, REFERENCE, preflight

from imettk.kaggle import account as account_module
from imettk.kaggle import client
from imettk.kaggle.outputs import OUTPUT


def hold(preflight_box: KaggleBox, monkeypatch: pytest.MonkeyPatch, on_wait: Callable[[int], None]) -> threading.Event:
    """Let sessions run until the returned event is set; call `on_wait` with the number of every wait."""
    event, waits = threading.Event(), 0
    run = preflight_box._run_kernel

    def held(job: Job) -> str:
        if "preflight" in job.slug:
            assert event.wait(PATIENCE)
        return run(job)

    def sleep(seconds: float) -> None:
        nonlocal waits
        if preflight_box.kernels:  # earlier waits are for the pack
            waits += 1
            on_wait(waits)

    preflight_box._run_kernel = held
    monkeypatch.setattr(client, "Patience", lambda: Patience(tries=6, sleep=sleep))
    return event


def stop(waits: int) -> None:
    raise KeyboardInterrupt


def leave(code: int) -> None:
    """Replace the exit of the command line, which would end this process."""
    raise SystemExit(code)


def test_a_preflight_shows_the_state_of_its_session(preflight_box, monkeypatch, capsys):
    def on_wait(waits: int) -> None:
        if waits < 50:
            preflight_box.kernels[REFERENCE][0].status = "QUEUED" if waits < 15 else "RUNNING"
        else:
            event.set()
            preflight_box.wait()

    event = hold(preflight_box, monkeypatch, on_wait)
    preflight_box.processing_polls = 0
    command(*PREFLIGHT)
    text = capsys.readouterr().out
    lines = [line.removeprefix(f"{REFERENCE} version 1: ") for line in text.splitlines() if " version 1: " in line]
    assert [line for line in lines if line.startswith("QUEUED")][:2] == ["QUEUED", "QUEUED for 3 min"]
    # Each state is timed from its own beginning.
    assert [line for line in lines if line.startswith("RUNNING")][-3:] == ["RUNNING", "RUNNING for 3 min",
                                                                           "RUNNING for 6 min"]  # fmt: skip
    assert "a fold takes about 10.0 h on cuda" in text


def test_after_ctrl_c_the_session_goes_on_and_the_same_command_waits_again(preflight_box, monkeypatch, capsys):
    event = hold(preflight_box, monkeypatch, stop)
    preflight_box.processing_polls = 0
    monkeypatch.setattr("imettk.cli.ending.leave", leave)
    command(*PREFLIGHT, code=1)
    text = capsys.readouterr().out
    hints = re.findall(r"`imettk kaggle (.*?)`", text.splitlines()[-1])
    assert "the session goes on: " in text and [hint.split()[0] for hint in hints] == ["status", "pull"]
    monkeypatch.setattr(
        client, "Patience", lambda: Patience(tries=6, sleep=lambda seconds: (event.set(), preflight_box.wait()))
    )
    command(*hints[0].split())
    assert re.search(r"version 1: RUNNING, run at \d\d \w{3} \d\d:\d\d UTC", capsys.readouterr().out)
    command(*PREFLIGHT)
    text = capsys.readouterr().out
    assert "version 1 is RUNNING, with the same recipe: waiting for it" in text and "everything works there" in text
    assert len(preflight_box.kernels[REFERENCE]) == 1
    Path("runs/kaggle/preflight.json").unlink()
    command(*hints[1].split())
    assert Path("runs/kaggle/preflight.json").is_file()  # where a chain looks for it


@pytest.mark.parametrize("other", ["recipe", "folder"])
def test_a_second_preflight_is_not_pushed_beside_a_running_one(preflight_box, monkeypatch, capsys, other):
    event = hold(preflight_box, monkeypatch, stop)
    preflight_box.processing_polls = 0
    monkeypatch.setattr("imettk.cli.ending.leave", leave)
    command(*PREFLIGHT, code=1)
    words = ["--stages.0.num-epochs", "3"] if other == "recipe" else ["--run-dir", "runs/other"]
    command(*PREFLIGHT, *words, code=2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"{REFERENCE} version 1 is RUNNING: no second preflight of this name" in error
    assert len(preflight_box.kernels[REFERENCE]) == 1
    event.set()
    preflight_box.wait()
    monkeypatch.setattr(client, "Patience", fast_patience)
    command(*PREFLIGHT, *words)
    assert len(preflight_box.kernels[REFERENCE]) == 2


@pytest.mark.parametrize("kind", ["failed", "killed", "error", "code 1"])
def test_the_listing_of_an_older_preflight_is_recognised(preflight_box, monkeypatch, capsys, kind):
    """The first one works; the second fails, and its listing is out of date at first."""
    command(*PREFLIGHT)
    Path("runs/kaggle/preflight.json").unlink()

    def fail(job: Job) -> str:
        preflight(job, {"killed": None, "code 1": 1}.get(kind, 0))
        job.log.write_text("the end of its log\n")
        if kind == "failed":
            (job.working / OUTPUT).unlink()
        return "COMPLETE" if kind == "code 1" else "ERROR"

    preflight_box._run_kernel = fail
    stale = preflight_box._list_kernel_session_output(
        {"userName": "me", "kernelSlug": REFERENCE[3:], "versionLabel": "v1"}
    )
    preflight_box.faults.add("ListKernelSessionOutput", Fault(200, body=json.dumps(stale).encode()), times=2)
    monkeypatch.setattr(account_module, "UNSURE_LISTED_SECONDS", 45.0)
    command(*PREFLIGHT, code=1)
    output = capsys.readouterr()
    assert "the preflight has failed" in output.err and "  | the end of its log" in output.out
    assert "everything works there" not in output.out.split("version 2")[1]


def test_a_late_output_is_not_a_failure(preflight_box, capsys):
    command(*PREFLIGHT)
    stale = preflight_box._list_kernel_session_output(
        {"userName": "me", "kernelSlug": REFERENCE[3:], "versionLabel": "v1"}
    )
    for body in (b"{}", json.dumps(stale).encode()):
        preflight_box.faults.add("ListKernelSessionOutput", Fault(200, body=body), times=10)
    command(*PREFLIGHT)
    assert capsys.readouterr().out.count("everything works there") == 2
    pushes = json.loads(Path("runs/kaggle/pushes.json").read_text())
    assert (
        json.loads((preflight_box.kernels[REFERENCE][1].job.working / OUTPUT).read_text())["push"]
        == pushes[REFERENCE]["push"]
    )


def test_an_output_that_never_comes_is_reported_as_such(preflight_box, capsys):
    preflight_box.faults.add("ListKernelSessionOutput", Fault(200, body=b"{}"), times=1000)
    command(*PREFLIGHT, code=1)
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the preflight is COMPLETE, but its output is not listed after 15 minutes" in error
    preflight_box.faults.clear()
    hint = re.search(r"`imettk kaggle (.*?)`", error)
    assert hint is not None
    command(*hint[1].split())
    assert Path("runs/kaggle/preflight.json").is_file()


def test_passing_refusals_of_status_calls_do_no_harm(preflight_box):
    for code in (403, 404, 401):
        preflight_box.faults.add("GetKernelSessionStatus", Fault(code))
    command(*PREFLIGHT)
    assert len(preflight_box.kernels[REFERENCE]) == 1


@pytest.mark.parametrize("words", [[REFERENCE], [f"{REFERENCE}/2"], [REFERENCE, "--run-dir", "runs/empty"]])
def test_a_pull_waits_for_the_listing_of_its_own_push(preflight_box, words):
    for _ in range(2):
        command(*PREFLIGHT)
    stale = preflight_box._list_kernel_session_output(
        {"userName": "me", "kernelSlug": REFERENCE[3:], "versionLabel": "v1"}
    )
    preflight_box.faults.add("ListKernelSessionOutput", Fault(200, body=json.dumps(stale).encode()), times=10)
    command("pull", *words, "--out", "out")
    pushes = json.loads(Path("runs/kaggle/pushes.json").read_text())
    assert json.loads(Path("out", OUTPUT).read_text())["push"] == pushes[REFERENCE]["push"]


def test_a_part_of_an_output_can_be_pulled(preflight_box, capsys):
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


def test_the_second_of_two_pulls_into_a_folder_waits(preflight_box, capsys, monkeypatch):
    """Each would continue and remove the half-downloaded files of the other."""
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


def test_a_command_that_failed_in_a_complete_session_is_reported(preflight_box, capsys):
    """The kernel itself exits with 0, so that the platform keeps its output."""
    preflight_box._run_kernel = lambda job: preflight(job, 2)
    command(*PREFLIGHT, code=1)
    capsys.readouterr()
    fault = "but preflight ended with code 2"
    command("status", REFERENCE)
    assert f"version 1: COMPLETE, {fault}, run at" in capsys.readouterr().out
    command("pull", REFERENCE, "--out", "out")
    assert f", {fault}" in capsys.readouterr().out
    command("follow", REFERENCE, code=1)
    assert f"version 1: COMPLETE, {fault}\n" in capsys.readouterr().out
    preflight_box.faults.add("ListKernelSessionOutput", Fault(500), times=20)
    command("status", REFERENCE)  # without its list nothing is known about the command
    assert "version 1: COMPLETE, run at" in capsys.readouterr().out


def test_the_output_of_a_killed_session_is_pulled_and_called_unverified(preflight_box, capsys):
    preflight_box._run_kernel = lambda job: "CANCEL_ACKNOWLEDGED" if preflight(job, None) else ""
    command(*PREFLIGHT, code=1)
    capsys.readouterr()
    command("pull", REFERENCE, "--out", "out", "--only", "fold*")
    text = capsys.readouterr().out
    assert "3.0 MB, NOT verified: the session was ended" in text and Path("out/fold0/model.safetensors").is_file()
