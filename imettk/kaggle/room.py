"""Room for sessions: the number that an account may run side by side, and the week's GPU hours."""

from __future__ import annotations

import time
from collections.abc import Sequence

from imettk.kaggle.chain_state import PUSHING, Chain
from imettk.kaggle.client import Kaggle
from imettk.kaggle.sessions import NoRoom, Quota, gpu_quota
from imettk.kaggle.watch import day
from imettk.progress import say

MAX_CPU = 5  # CPU sessions that an account may run at once
QUOTA_SECONDS = 600.0  # the age at which the known hours of the week are read again


class Room:
    """Room that several chains share, in their order.

    Args:
        chains: the chains whose sessions count.
        at_once: how many GPU sessions may run side by side.
    """

    def __init__(self, kaggle: Kaggle, chains: Sequence[Chain], at_once: int) -> None:
        self.chains, self.at_once = list(chains), at_once
        self._kaggle = kaggle
        self._quota: Quota | None = None
        self._asked_at: float | None = None
        self._reported: set[str] = set()

    def refuse(self, error: NoRoom, *, gpu: bool) -> None:
        """Report that the platform has no room for such a session."""
        what = "GPU sessions" if gpu else "sessions"
        self._report_once(what, f"{error}; {what} wait")

    def note_push(self) -> None:
        """Have the week's hours read again, of which the session that was pushed has reserved some."""
        self._asked_at = None
        self._reported.clear()

    def has(self, chain: Chain, *, gpu: bool) -> bool:
        """Return whether one more session of this chain may start, in number and in hours of the week."""
        running = sum(job.gpu == gpu for other in self.chains for job in other.open_jobs)
        if self._has_refused(chain, gpu=gpu) or running >= (self.at_once if gpu else MAX_CPU):
            return False
        quota = self.quota() if gpu else None
        # Without an answer push anyway: the platform itself refuses a session that it has no hours for.
        if quota is None or 3600 * quota.left >= chain.least_seconds:
            return True
        later = quota.renewed_at is not None and quota.renewed_at > (self._kaggle.now() or 0.0)
        until = f" until {day(quota.renewed_at)}" if later and quota.renewed_at else ", until the platform renews them"
        used = f"{quota.used:.1f} of {quota.allowed:.1f} used"
        self._report_once("hours", f"GPU hours of this week: {used}; GPU sessions wait{until}")
        return False

    def _has_refused(self, chain: Chain, *, gpu: bool) -> bool:
        """Return whether a session of this kind, of this chain or one before it, waits for room and goes first."""
        for other in self.chains:
            if any(job.gpu == gpu and job.state == PUSHING and job.note for job in other.open_jobs):
                return True
            if other is chain:  # chains after this one have to wait for it
                break
        return False

    def seconds(self) -> float | None:
        """Return how long a GPU session can run within the week's hours; None if the platform does not say."""
        quota = self.quota()
        return None if quota is None else 3600 * quota.left

    def quota(self) -> Quota | None:
        """Return the week's GPU hours, as last read."""
        if self._asked_at is None or time.monotonic() - self._asked_at > QUOTA_SECONDS:
            self._asked_at, self._quota = time.monotonic(), gpu_quota(self._kaggle)
        return self._quota

    def _report_once(self, what: str, text: str) -> None:
        """Print why sessions wait, once until a session is pushed again."""
        if what not in self._reported:
            self._reported.add(what)
            say(text)
