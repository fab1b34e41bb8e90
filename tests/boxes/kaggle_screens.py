"""Screens of the Kaggle page, each made by its command with a fixed chain, clock and server."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kaggle_box import Fault, KaggleBox, Version
from kaggle_box import Job as BoxJob

from imettk.cli.doctor import _kaggle as doctor_lines
from imettk.cli.main import main
from imettk.kaggle import room, rounds, waiting
from imettk.kaggle.chain_state import DONE, PAUSED, RUNNING, Chain, Job, read_chain
from imettk.kaggle.outputs import write_output_list
from imettk.tracking.files import write_json

RUN = Path("runs/kaggle")
HOUR = 3600.0
NOW = datetime(2026, 11, 27, 14, 5, 30, tzinfo=UTC).timestamp()
MINE = """
from dataclasses import replace
from imettk.recipes.digits import digits

def recipe():
    return replace(digits(), name="{name}")
"""
WORDS = ("kaggle", "chain", "mine.py", "--competition", "cells", "--folds", "0,1")


class Clock:
    """The clock of the platform and of the laptop: sleeping moves it, and after so many looks Ctrl-C is pressed."""

    def __init__(self) -> None:
        self.now, self.looks = NOW, 0
        self.between_looks: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        if seconds in (rounds.POLL_SECONDS, waiting.POLL_SECONDS):
            self.between_looks()
            self.looks -= 1
            if not self.looks:
                raise KeyboardInterrupt
        self.now += seconds


class Page:
    """A laptop with a chain whose trainings are under way, and what its commands print."""

    def __init__(self, box: KaggleBox, clock: Clock, capsys: Any, told: list[str], patch: pytest.MonkeyPatch) -> None:
        self.box, self.clock, self.capsys, self.told, self.patch = box, clock, capsys, told, patch

    def command(self, *words: object, looks: int = 1) -> tuple[str, str]:
        """Run a command and return what it writes to stdout and stderr."""
        self.clock.looks = looks
        self.capsys.readouterr()
        with pytest.raises(SystemExit):
            main(list(map(str, words)))
        return self.capsys.readouterr()

    def terminal(self) -> None:
        """Make progress lines believe in a terminal of 100 columns."""
        self.patch.setenv("COLUMNS", "100")
        self.patch.setattr(sys.stderr, "isatty", lambda: True)

    def session(self, place: str, status: str, *, hours: float = 0.0, name: str = "cells", log: str = "") -> Version:
        """Put a session on the platform."""
        reference = f"me/imettk-{name}-{place}"
        working = self.box.root / name / place / "working"
        working.mkdir(parents=True)
        (working.parent / "log.txt").write_text(log)
        job = BoxJob(reference, 1, "", True, False, None, {}, {}, {}, working, working.parent / "log.txt")
        version = Version(1, {"text": ""}, job, status, seconds=HOUR * hours, pushed_at="2026-11-27T10:53:00.000Z")
        self.box.kernels[reference] = [version]
        return version

    def chain(self, *, trained: bool = True, running: bool = True, name: str = "cells", folder: Path = RUN) -> Chain:
        """Save a chain in the middle of its second sessions; or before the first ones, or between them."""
        words = [word if word != "mine.py" else f"{name}.py" if name != "cells" else word for word in WORDS]
        if not (folder / "chain.json").is_file():
            write_json(folder / "preflight.json", {"recipe": name, "seconds_a_fold": 51_120.0, "device": "cuda"})
            shown = self.command(*words, "--once", "--run-dir", folder)
            self.box.wait()
            self.clock.now = NOW
        chain = read_chain(folder)
        assert chain is not None, shown
        chain.jobs.clear()
        _add(chain, "prepare", None, state=DONE, seconds=600.0)
        self.session("prepare-s1", "COMPLETE", name=name)
        for fold, step in ((0, 2980), (1, 2950)) if trained else ():
            _add(chain, "train", fold, state=PAUSED, step=step, note=f"step {step} of 4800", num_steps=4800)
            self.session(f"f{fold}-s1", "COMPLETE", hours=8.92, name=name)
        if running:
            _add(chain, "train", 0, pushed_at=NOW - 3.3 * HOUR, running_at=NOW - 3.2 * HOUR, seen="RUNNING")
            _add(chain, "train", 1, pushed_at=NOW - 240.0, seen="QUEUED")
            self.session("f0-s2", "RUNNING", hours=3.2, name=name)
            self.session("f1-s2", "QUEUED", name=name)
        chain.save(folder)
        return chain


def _add(chain: Chain, stage: str, fold: int | None, *, state: str = RUNNING, **values: Any) -> Job:
    job = chain.add(stage, fold, chain.of("prepare"), gpu=stage != "prepare")
    usual = {"version": 1, "pushed_at": NOW - 12 * HOUR, "seconds": 0.0 if state == RUNNING else 32_100.0}
    usual |= {"has_output": state != RUNNING, "ended_at": 0.0 if state == RUNNING else NOW - 3.3 * HOUR}
    usual |= {"seen_at": NOW - 60.0, "state": state}
    for name, value in (usual | values).items():
        setattr(job, name, value)
    return job


def drawn(text: str) -> str:
    """Return the lines on a terminal after this text."""
    rows, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[A|\r|\n|[^\r\n\x1b]+", text):
        if piece == "\x1b[A":
            row -= 1
        elif piece == "\r":
            column = 0
        elif piece == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        else:
            rows[row] = rows[row][:column].ljust(column) + piece + rows[row][column + len(piece) :]
            column += len(piece)
    return "".join(f"{line.rstrip()}\n" for line in rows if line.strip())


def lines_with(text: str, *words: str) -> str:
    """Return the whole lines that contain one of these words."""
    return "".join(f"{line}\n" for line in text.splitlines() if any(word in line for word in words))


def drawn_while_it_waits(page: Page, *words: object) -> str:
    """Return what a terminal shows between the first look and the next."""
    page.terminal()
    pieces: list[str] = []
    page.clock.between_looks = lambda: pieces.append(page.capsys.readouterr().err)
    page.command(*words)
    return drawn(pieces[0])


# One function a screen.


def doctor(page: Page) -> str:
    page.box.add_login(Path("home/.kaggle/credentials.json"))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        page.patch.delenv(name)
    page.patch.setattr("imettk.cli.doctor.WIDTH", 1000)  # the box's paths are longer than a user's
    page.capsys.readouterr()
    doctor_lines(sign_in=True)
    return page.capsys.readouterr().out.replace(str(Path("home").resolve()), "/home/me")


def begins(page: Page) -> str:
    write_json(RUN / "preflight.json", {"recipe": "cells", "seconds_a_fold": 51_120.0, "device": "cuda"})
    page.session("hours", "COMPLETE", hours=12.7)
    return page.command(*WORDS)[0].partition("not watched")[0]


def terminal(page: Page) -> str:
    page.chain()
    return drawn_while_it_waits(page, *WORDS)


def log_line(page: Page) -> str:
    page.chain()
    out = page.command(*WORDS, looks=6)[0]
    return lines_with(out, "next:")


def ctrl_c(page: Page) -> str:
    page.chain()
    out, err = page.command(*WORDS)
    return out + err


def status_chain(page: Page) -> str:
    page.chain()
    return page.command("kaggle", "status")[0]


def status_kernel(page: Page) -> str:
    page.chain()
    return page.command("kaggle", "status", "me/imettk-cells-f0-s2/1")[0]


def status_unanswered(page: Page) -> str:
    page.chain()
    page.box.faults.add("GetKernelSessionStatus", Fault(403), times=3)
    page.box.faults.add("GetAcceleratorQuotaStatistics", Fault(503))
    return lines_with(page.command("kaggle", "status", looks=99)[0], "as last seen", "fold 0", "does not report")


def preflight(page: Page) -> str:
    _preflight_states(page)
    return page.command("kaggle", "preflight", "mine.py", "--competition", "cells", looks=99)[0]


def preflight_left(page: Page) -> str:
    _preflight_states(page)
    out, err = page.command("kaggle", "preflight", "mine.py", "--competition", "cells", looks=9)
    return out.splitlines()[-1] + "\n" + err


def _preflight_states(page: Page) -> None:
    """Let a pushed preflight wait two minutes and run for four."""

    def follow_time() -> None:
        for versions in page.box.kernels.values():
            seconds = page.clock.now - NOW
            versions[0].status = "QUEUED" if seconds < 120 else "RUNNING" if seconds < 360 else "COMPLETE"

    def run(job: BoxJob) -> str:
        push = re.search(r'PUSH = "(\w+)"', job.text)
        measured = {"recipe": "cells", "seconds_a_fold": 51_120.0, "device": "cuda"}
        write_json(job.working / "preflight.json", measured)
        write_output_list(job.working, push=push[1] if push else "", command="preflight", code=0, seconds=360.0)
        return "QUEUED"

    page.box._run_kernel = run
    answer = page.box.answer

    def answer_in_time(method: str, request: dict[str, Any]) -> dict[str, Any]:
        given = answer(method, request)
        if method == "SaveKernel":
            page.box.wait()
        follow_time()
        return answer(method, request) if method == "GetKernelSessionStatus" else given

    page.box.answer = answer_in_time  # type: ignore[method-assign]


def score(page: Page) -> str:
    page.box.score_polls = 16
    Path("submission.csv").write_text("id,label\n")
    return page.command("kaggle", "submit", "cells", "submission.csv", looks=99)[0]


def stop(page: Page) -> str:
    page.chain()
    return page.command(*WORDS, "--stop")[0].partition("cells: mine.py")[0]


def quota(page: Page) -> str:
    page.chain(running=False)
    page.session("hours", "COMPLETE", hours=11.96)
    page.patch.setattr(room, "QUOTA_SECONDS", -1.0)  # ask for the quota at each look
    return page.command(*WORDS, looks=6)[0].partition("not watched")[0]


def _one_session(page: Page) -> None:
    chain = page.chain()
    chain.jobs.pop()
    chain.save(RUN)


def unclear(page: Page) -> str:
    _one_session(page)
    page.box.faults.add("GetKernelSessionStatus", Fault(503), times=999)
    out = page.command(*WORDS, looks=1)[0]
    first = out.splitlines()[: out.splitlines().index(lines_with(out, "next:").splitlines()[0]) + 1]
    return "".join(f"{line}\n" for line in first if not re.search(r"\([4-8] of 10\)", line))


def unclear_messages(page: Page) -> str:
    _one_session(page)
    page.box.faults.add("GetKernelSessionStatus", Fault(503), times=40)
    page.told.clear()
    page.command(*WORDS, looks=5)
    return "".join(f"{text}\n" for text in page.told)


def unclear_end(page: Page) -> str:
    _one_session(page)
    page.box.faults.add("GetKernelSessionStatus", Fault(503), times=9_999)
    return page.command(*WORDS, looks=9_999)[1]


def failed(page: Page) -> str:
    chain = page.chain()
    running = page.box.kernels["me/imettk-cells-f0-s2"][0]
    running.status, running.job.gpu = "COMPLETE", True
    running.job.log.write_text(
        "fold 0: continues at step 2980 of 4800\n"
        "torch.AcceleratorError: CUDA error: unspecified launch failure\n"
        "imettk: train ended with code 1; this session counts as complete to keep its output\n"
    )
    (running.job.working / "fold0" / "checkpoints").mkdir(parents=True)
    (running.job.working / "fold0" / "checkpoints" / "step-00003600.safetensors").write_text("x")
    write_output_list(running.job.working, push=chain.open_jobs[0].push, command="train", code=1, seconds=11_520.0)
    return page.command(*WORDS)[0].partition("not watched")[0]


def cannot_heal(page: Page) -> str:
    chain = page.chain(trained=False, running=False)
    chain.jobs.clear()
    job = _add(chain, "prepare", None, seen="RUNNING")
    ended = page.box.kernels["me/imettk-cells-prepare-s1"][0]
    fault = "1 of 4812 training images cannot be read: a.png: it is empty"
    ended.job.log.write_text(f"imettk: {fault}\n")
    write_output_list(ended.job.working, push=job.push, command="prepare", code=2, seconds=60.0)
    chain.save(RUN)
    out, err = page.command(*WORDS)
    return out.partition("cells: mine.py")[0] + err.splitlines(True)[-1]  # without the bar of a download


def queue(page: Page) -> str:
    for name in ("cells", "whales"):
        page.chain(name=name, folder=RUN / name, running=name == "cells", trained=name == "cells")
    words = [word for name in WORDS for word in ((name, "whales.py") if name == "mine.py" else (name,))]
    return drawn_while_it_waits(page, *words)


def edited_before(page: Page) -> str:
    page.chain(trained=False, running=False)
    out = page.command(*WORDS, "--stages.0.lr", "0.001")[0]
    return out.partition("not watched")[0]


def edited_after(page: Page) -> str:
    page.chain()
    return page.command(*WORDS, "--stages.0.lr", "0.001")[1]


def follow(page: Page) -> str:
    page.chain()
    logs = {
        "f0-s2": "fold 0: continues at step 2980 of 4800\nfold 0: done after 4800 steps\n",
        "f1-s2": "fold 1: continues at step 2950 of 4800\n",
    }
    for place, log in logs.items():
        version = page.box.kernels[f"me/imettk-cells-{place}"][0]
        version.job.log.write_text(log)
        version.status = "COMPLETE"
    out = page.command("kaggle", "follow")[0]
    return "".join(sorted(out.splitlines(True)))  # sessions are followed side by side


SCREENS = [
    doctor, preflight, preflight_left, begins, terminal, log_line, status_chain, status_kernel,
    status_unanswered, follow, ctrl_c, stop, quota, unclear, unclear_messages, unclear_end, failed, cannot_heal, queue,
    edited_before, edited_after, score,
]  # fmt: skip
