"""Room for sessions: how many an account may run side by side, and the week's GPU hours."""

from __future__ import annotations

import time
from collections.abc import Sequence

from imettk.kaggle.chain_state import PUSHING, Chain
from imettk.kaggle.client import Kaggle
from imettk.kaggle.sessions import NoRoom, Quota, gpu_quota
from imettk.kaggle.watch import day
from imettk.progress import say

MAX_CPU = 5  # sessions at once that an account has
QUOTA_SECONDS = 600.0  # after which the week's hours are asked for again


class Room:
    """Room that several chains share, in their order.

    Args:
        chains: whose sessions count.
        at_once: GPU sessions that may run side by side.
    """

    def __init__(self, kaggle: Kaggle, chains: Sequence[Chain], at_once: int) -> None:
        self.chains, self.at_once = list(chains), at_once
        self._kaggle = kaggle
        self._quota: Quota | None = None
        self._asked_at: float | None = None
        self._said: set[str] = set()

    def refuse(self, error: NoRoom, *, gpu: bool) -> None:
        """Note that the platform has no room for such a session; said once until one is pushed again."""
        what = "GPU sessions" if gpu else "sessions"
        self._say(what, f"{error}; {what} wait")

    def note_push(self) -> None:
        """Ask for the week's hours anew: a session that has begun reserves some."""
        self._asked_at = None
        self._said.clear()

    def has(self, chain: Chain, *, gpu: bool) -> bool:
        """Whether one more session of this chain may start, with as much of the week's hours as it needs."""
        running = sum(job.gpu == gpu for other in self.chains for job in other.open_jobs)
        if self._has_refused(chain, gpu=gpu) or running >= (self.at_once if gpu else MAX_CPU):
            return False
        quota = self.quota() if gpu else None
        if quota is None or 3600 * quota.left >= chain.least_seconds:
            return True
        later = quota.renewed_at is not None and quota.renewed_at > (self._kaggle.now() or 0.0)
        until = f" until {day(quota.renewed_at)}" if later and quota.renewed_at else ", until the platform renews them"
        used = f"{quota.used:.1f} of {quota.allowed:.1f} used"
        self._say("hours", f"GPU hours of this week: {used}; GPU sessions wait{until}")
        return False

    def _has_refused(self, chain: Chain, *, gpu: bool) -> bool:
        """Whether a session like this, of this chain or one before it, waits for room: that one is pushed first."""
        for other in self.chains:
            if any(job.gpu == gpu and job.state == PUSHING and job.note for job in other.open_jobs):
                return True
            if other is chain:
                break
        return False

    def seconds(self) -> float | None:
        """How long a GPU session can be within the week's hours; None where the platform does not say."""
        quota = self.quota()
        return None if quota is None else 3600 * quota.left

    def quota(self) -> Quota | None:
        """The week's GPU hours, as last asked for."""
        if self._asked_at is None or time.monotonic() - self._asked_at > QUOTA_SECONDS:
            self._asked_at, self._quota = time.monotonic(), gpu_quota(self._kaggle)
        return self._quota

    def _say(self, what: str, text: str) -> None:
        """Say once why these wait, until a session is pushed again."""
        if what not in self._said:
            self._said.add(what)
            say(text)
