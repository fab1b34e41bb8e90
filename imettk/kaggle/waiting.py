"""Waiting for the platform: a status line in a terminal, one line now and then in a log, and a hint after Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from imettk.errors import PlatformError, UserError
from imettk.kaggle.client import Kaggle, Unclear
from imettk.progress import say, status_line

POLL_SECONDS = 15.0
LINE_SECONDS = 180.0  # between two lines of a log while nothing changes
REFUSALS = 5  # refused looks in a row that count as final; Kaggle refuses some in passing

Result = TypeVar("Result")


def wait_until(
    kaggle: Kaggle,
    what: str,
    look: Callable[[], tuple[Result | None, str]],
    *,
    limit_seconds: float,
    hint: str,
) -> Result | None:
    """Look at the platform until there is a result, and return it; None if there is none within the limit.

    Answers that are lost, unreadable, or refused in passing do not end the waiting.

    Args:
        what: the awaited thing, in words.
        look: returns the result, or None and the state in words ("RUNNING"), which is shown with its duration.
        hint: what goes on without this process and which command continues, printed after Ctrl-C and at the end.

    Raises:
        PlatformError, UserError: Kaggle has refused `REFUSALS` looks in a row, or the last look failed.
    """
    start, slept, since = time.monotonic(), 0.0, 0.0
    state, refusals = "", 0
    fault: PlatformError | UserError | None
    with goodbye(hint), _shown(what) as show:
        while True:
            try:
                result, new_state = look()
                fault, refusals = None, 0
                if result is not None:
                    return result
                passed = max(slept, time.monotonic() - start)
                if new_state != state:
                    state, since = new_state, passed
                show(state, passed - since)
            except (PlatformError, UserError) as error:
                fault = error
                refusals += isinstance(error, UserError) or not isinstance(error, Unclear)
                if refusals < REFUSALS:
                    say(f"{error}; looking again")
            over = max(slept, time.monotonic() - start) >= limit_seconds
            if fault is not None and (over or refusals >= REFUSALS):
                raise type(fault)(f"{fault}; {hint}") from None
            if over:
                return None
            kaggle.patience.sleep(POLL_SECONDS)
            slept += POLL_SECONDS  # counted as well, because the clock may stand still while a laptop sleeps


@contextmanager
def goodbye(hint: str) -> Iterator[None]:
    """Print the hint when the user stops the waiting with Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        say(hint)
        raise


@contextmanager
def _shown(what: str) -> Iterator[Callable[[str, float], None]]:
    """Provide a function that shows a state and how long it has lasted."""
    if sys.stderr.isatty():
        with status_line() as line:
            yield lambda state, seconds: line.set_description_str(f"{what}: {_in_words(state, seconds)}")
        return
    last: tuple[str, float] = "", 0.0

    def show_line(state: str, seconds: float) -> None:
        nonlocal last
        if state != last[0] or seconds - last[1] >= LINE_SECONDS:
            say(f"{what}: {_in_words(state, seconds)}")
            last = state, seconds

    yield show_line


def _in_words(state: str, seconds: float) -> str:
    """Describe a state and its duration: `RUNNING for 12 min`."""
    return f"{state} for {seconds / 60:.0f} min" if seconds >= 60 else state
