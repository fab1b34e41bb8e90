"""`report`: what happened, as one page; `validate` leaves one too, so that a kernel's output has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imettk.progress import say
from imettk.tracking.report import REPORT, write_report
from imettk.tracking.run_dir import RunDir

SIDE_BY_SIDE = "side_by_side.html"  # so that the first run keeps the page of its own


def report(folders: Sequence[Path], *, out: Path | None = None, inputs: Sequence[Path] = ()) -> None:
    """Write `report.html` of one run into its folder, or of several side by side `side_by_side.html` into the first."""
    path = out or folders[0] / (REPORT if len(folders) == 1 else SIDE_BY_SIDE)
    for fault in write_report(folders, path, inputs=inputs):
        say(f"note: {fault}")
    say(f"{path}: open it in a browser")


def keep_report(run: RunDir) -> None:
    """The page of a run whose stage is done: it must not fail for want of a picture of it."""
    try:
        write_report([run.path], run.path / REPORT, inputs=run.inputs)
        say(f"{run.path / REPORT}: all of it on one page")
    except Exception as error:
        say(f"warning: no {REPORT}: {type(error).__name__}: {error}")
