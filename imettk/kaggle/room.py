"""Room for sessions: how many an account may run side by side, and the week's GPU hours."""

from __future__ import annotations

import time
from collections.abc import Sequence

from imettk.kaggle.client import Kaggle
from imettk.kaggle.plan import Chain
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
        self._full: set[bool] = set()  # kinds of sessions, with GPU or without, that the platform has refused
        self._quota: Quota | None = None
        self._asked_at: float | None = None
        self._said = ""

    def begin_round(self) -> None:
        """Forget what the platform refused at the look before."""
        self._full.clear()

    def refuse(self, error: NoRoom, *, gpu: bool) -> None:
        """Note that the platform has no room for such a session; said once until it has."""
        self._full.add(gpu)
        self._say(f"{error}; GPU sessions wait" if gpu else f"{error}; sessions wait")

    def note_push(self) -> None:
        """Ask for the week's hours anew: a session that has begun reserves some."""
        self._asked_at = None

    def has(self, *, gpu: bool, least_seconds: float) -> bool:
        """Whether one more session may start, with at least so much of the week's hours."""
        running = sum(job.gpu == gpu for chain in self.chains for job in chain.open_jobs)
        if gpu in self._full or running >= (self.at_once if gpu else MAX_CPU):
            return False
        quota = self.quota() if gpu else None
        if quota is None or 3600 * quota.left >= least_seconds:
            return True
        until = f" until {day(quota.renewed_at)}" if quota.renewed_at else ", until the platform renews them"
        self._say(f"GPU hours of this week: {quota.used:.1f} of {quota.allowed:.1f} used; GPU sessions wait{until}")
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

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            say(text)
