"""A session, one process on one machine: how much time is left, and when to stop with time enough to save."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

RECENT_STEPS = 50
HANG_SHARE = 0.25  # of the margin: what is left of it when a step that hangs is given up
HANG_SECONDS = 60.0  # for a session that begins too late, to notice that and stop by itself

TERMINATED, INTERRUPTED = "received SIGTERM", "received SIGINT"
STEP_LIMIT, TIME_LIMIT = "step limit of the session", "time limit of the session"
NO_TIME_TO_VALIDATE = "no time left in the session to validate"
REASONS = (TERMINATED, INTERRUPTED, STEP_LIMIT, TIME_LIMIT, NO_TIME_TO_VALIDATE)


def flag_of(reason: str | None) -> int:
    """Return the number by which processes tell each other a reason to stop; 0 for None."""
    return 0 if reason is None else REASONS.index(reason) + 1


def reason_of(flag: int) -> str | None:
    """Return the reason that `flag_of` gave this number."""
    return REASONS[flag - 1] if flag else None


class Session:
    """Clock of a session: knows its start, its limit and what it has measured, and decides when to stop.

    Signals only set a flag, which is read between two steps: a step is never cut in half, and a save is never skipped.

    Args:
        started: when the session began, on `clock`.
        limit_seconds: from then until the platform kills it.
        margin_seconds: kept free at the end.
        limit_steps: stop after this many steps in any case.
        clock: returns seconds; the default is the same in all processes of a machine, and nobody can set it.
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
        started = min(started, clock())  # a start in the future would be another machine's
        self._end = started + limit_seconds - margin_seconds
        self._hang_end = max(started + limit_seconds - margin_seconds * HANG_SHARE, clock() + HANG_SECONDS)
        self._steps_left = limit_steps
        self._recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self._worst_step = 0.0
        self._save_seconds = 0.0
        self._starts = False  # the next step compiles the network, too
        self._start_seconds = 0.0
        self._signal: str | None = None

    def note_step(self, seconds: float) -> None:
        """Record how long a step took; one that has compiled the network says nothing about those that follow."""
        if self._starts:
            self._starts, self._start_seconds = False, max(self._start_seconds, seconds)
        else:
            self._recent.append(seconds)
            if seconds > self._worst_step:
                self._worst_step = seconds
        if self._steps_left is not None:
            self._steps_left -= 1

    def limit(self, steps: int) -> None:
        """Stop after this many further steps, or earlier if there was a lower limit."""
        self._steps_left = steps if self._steps_left is None else min(self._steps_left, steps)

    def expect_start(self) -> None:
        """Expect that the next step also compiles the network."""
        self._starts = True

    @property
    def start_seconds(self) -> float:
        """Seconds of the longest step so far that compiled the network; 0 before the first."""
        return self._start_seconds

    def estimate(self, steps: float) -> float:
        """Return the seconds of so many steps, by the recent ones; 0 before the first."""
        return steps * sum(self._recent) / len(self._recent) if self._recent else 0.0

    def note_save(self, seconds: float) -> None:
        """Record how long a checkpoint took to write."""
        self._save_seconds = max(self._save_seconds, seconds)

    @property
    def save_seconds(self) -> float:
        """Seconds that the slowest checkpoint of this session took to write; 0 before the first."""
        return self._save_seconds

    def fits(self, seconds: float = 0.0) -> bool:
        """Return whether something that takes so long, one more step and a save fit into the rest of the session."""
        until = self._clock() + seconds + self._save_seconds + (self._start_seconds if self._starts else 0.0)
        # The worst step of all is checked first, as it is at hand; only near the end are the recent ones searched.
        return until + self._worst_step < self._end or until + max(self._recent, default=0.0) < self._end

    def stop_reason(self, *, validation_seconds: float | None = None) -> str | None:
        """Return why the session must end now, one of `REASONS`, or None.

        Args:
            validation_seconds: of a validation that comes before the next step, None without one; it
                may still start when the limit of steps is reached.
        """
        if self._signal is not None:
            return self._signal
        if validation_seconds is None and self._steps_left is not None and self._steps_left <= 0:
            return STEP_LIMIT
        if not self.fits():
            return TIME_LIMIT
        return None if validation_seconds is None or self.fits(validation_seconds) else NO_TIME_TO_VALIDATE

    def seconds_until_hang(self) -> float:
        """Return the seconds until the watchdog has to end the session."""
        return self._hang_end - self._clock()

    def listen(self) -> Callable[[], None]:
        """Stop at the next step on SIGTERM or SIGINT, at once on a second SIGINT; return a function that undoes it."""
        before: dict[int, Any] = {}

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = TERMINATED if number == signal.SIGTERM else INTERRUPTED
            if number == signal.SIGINT:
                signal.signal(number, before[number])

        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, note)

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        return restore


class Watchdog:
    """A thread that ends the process with code 0 if training has not stopped when the session is nearly over.

    A step that hangs (a driver, a file system) reaches no boundary at which it could stop; the platform would kill the
    session, and save none of its output. The last checkpoint, which is all that counts, is on the disk already.

    Args:
        on_hang: reports what happened, before the process ends.
        leave: ends the process with an exit code.
        wait: waits so many seconds of the session's clock for the end of training, and returns whether it came.
    """

    def __init__(
        self,
        session: Session,
        on_hang: Callable[[], None],
        *,
        leave: Callable[[int], object] = os._exit,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._session, self._on_hang, self._leave, self._wait = session, on_hang, leave, wait
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, as training has ended by itself; return when the thread has ended too.

        `on_hang` keeps the trainer alive. Were the thread the last to let go of it, its tensors would be freed there
        while the interpreter shuts down, which aborts a process that had ended well (exit code 134).
        """
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while (seconds := self._session.seconds_until_hang()) > 0:
            if self._wait(self._stopped, min(seconds, threading.TIMEOUT_MAX)):
                return
        try:
            self._on_hang()
        finally:
            self._leave(0)
