"""Sessions of Kaggle in a box that run what was pushed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from forked import PATIENCE
from kaggle_box import Job

from imettk.kaggle.sandbox import Mounts, run_session


def run_for_real(python: Path) -> Callable[[Job], str]:
    """Return a function that runs sessions as the platform does."""

    def run(job: Job) -> str:
        mounts = Mounts(job.datasets, job.notebooks, job.competitions)
        with job.log.open("w", encoding="utf-8") as log:
            ending = run_session(
                job.text,
                job.working.parent,
                mounts,
                internet=job.internet,
                limit_seconds=job.limit_seconds or PATIENCE,
                cancel=job.cancel,
                line=lambda line: print(line, file=log, flush=True),
                python=[str(python)],
                isolate=False,
            )
        return ending.status

    return run
