"""`report`: what happened, as one page. `validate` leaves one too, so that a kernel's output includes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imettk.metrics.paired import PairedScores
from imettk.progress import say
from imettk.tracking.report import REPORT, write_report
from imettk.tracking.run_dir import RunDir

SIDE_BY_SIDE = "side_by_side.html"  # another name, so that the first run keeps its own page


def report(folders: Sequence[Path], *, out: Path | None = None, inputs: Sequence[Path] = ()) -> None:
    """Write `report.html` of one run into its folder, or `side_by_side.html` of several into the first one's folder."""
    path = out or folders[0] / (REPORT if len(folders) == 1 else SIDE_BY_SIDE)
    for fault in write_report(folders, path, inputs=inputs, compare=_compare if len(folders) > 1 else None):
        say(f"note: {fault}")
    say(f"{path}: open it in a browser")


def _compare(first: Path, second: Path) -> PairedScores:
    """Compare two run folders; the import loads torch, which the page of one run does without."""
    from imettk.evaluation.paired import compare_runs

    return compare_runs(first, second)


def keep_report(run: RunDir) -> None:
    """Write the page of a run whose command has succeeded; a fault in the page must not turn that into a failure."""
    try:
        write_report([run.path], run.path / REPORT, inputs=run.inputs)
        say(f"{run.path / REPORT}: all of it on one page")
    except Exception as error:
        say(f"warning: no {REPORT}: {type(error).__name__}: {error}")
