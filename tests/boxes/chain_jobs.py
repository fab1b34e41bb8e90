"""Sessions of a chain for several tests, and checks of what was pushed."""

from __future__ import annotations

from forked import PATIENCE
from kaggle_box import Job, KaggleBox
from pretended import pretend


def assert_once(box: KaggleBox) -> None:
    """Check that every kernel was pushed once, and none was deleted."""
    assert all(len(versions) == 1 for versions in box.kernels.values()) and not box.deleted


def endless(job: Job) -> str:
    """Run a session, whose training lasts until it is cancelled."""
    if "-f" not in job.slug:
        return pretend(job)
    return "CANCEL_ACKNOWLEDGED" if job.cancel.wait(PATIENCE) else "ERROR"


def waiting(job: Job) -> str:
    return "CANCEL_ACKNOWLEDGED" if job.cancel.wait(PATIENCE) else "ERROR"


def last_push(box) -> dict:
    return [request for method, request in box.requests if method == "SaveKernel"][-1]
