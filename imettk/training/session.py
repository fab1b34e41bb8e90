"""One process on one machine: how much time is left, and when to stop while there is still time to save."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

RECENT_STEPS = 50


class Session:
    """Knows its start, its limit and what it has measured; says when to stop. Signals only set a flag.

    Args:
        started: when the session began, in seconds since the epoch.
        limit_seconds: from then until the platform kills it.
        margin_seconds: kept free at the end.
        limit_steps: stop after this many steps in any case.
        clock: seconds, only differences count; the default cannot jump.
    """

    def __init__(
        self,
        *,
        started: float,
        limit_seconds: float,
        margin_seconds: float,
        limit_steps: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        already = min(max(0.0, time.time() - started), limit_seconds)
        self._end = clock() - already + limit_seconds - margin_seconds
        self._steps_left = limit_steps
        self._recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self._save_seconds = 0.0
        self._signal: str | None = None

    def note_step(self, seconds: float) -> None:
        """Record how long a step took."""
        self._recent.append(seconds)
        if self._steps_left is not None:
            self._steps_left -= 1

    def note_save(self, seconds: float) -> None:
        """Record how long a checkpoint took to write."""
        self._save_seconds = max(self._save_seconds, seconds)

    def fits(self, seconds: float = 0.0) -> bool:
        """Whether something that takes so long, one more step and a save fit in what is left."""
        worst_step = max(self._recent, default=0.0)
        return self._clock() + seconds + worst_step + self._save_seconds < self._end

    def stop_reason(self, *, steps_count: bool = True) -> str | None:
        """Why the session must end now, or None; what is no step may still start when the limit of steps is reached."""
        if self._signal is not None:
            return f"received {self._signal}"
        if steps_count and self._steps_left is not None and self._steps_left <= 0:
            return "step limit of the session"
        return None if self.fits() else "time limit of the session"

    def listen(self) -> Callable[[], None]:
        """Have SIGTERM and SIGINT stop the session at the next step, a second one at once. Returns the way back."""
        before: dict[int, Any] = {}

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = signal.Signals(number).name
            signal.signal(number, before[number])

        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, note)

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        return restore
