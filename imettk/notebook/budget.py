"""The time that a training in a notebook may take."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from imettk.config import SESSION_START, Recipe, duration
from imettk.errors import ConfigError

ON_KAGGLE = "KAGGLE_KERNEL_RUN_TYPE"  # environment of Kaggle's notebooks


def session_words(recipe: Recipe, budget: str | float | None) -> tuple[list[str], dict[str, str]]:
    """Return options and environment of a command that ends in time.

    Without a budget the recipe's limit counts: from the session's start on Kaggle, from now elsewhere. A budget counts
    from now, but lets nothing run beyond that.

    Args:
        budget: as in "90s", "45m" or "8h", or in seconds.

    Raises:
        ConfigError: the budget is none of these, or leaves no time.
    """
    now = time.monotonic()
    start, session = _session_start(now), recipe.session
    if budget is None:
        return [], {SESSION_START: repr(start)}
    left = min(_parse(budget), start + session.limit_seconds - now)
    if left <= 0:
        raise ConfigError(f"the session's `limit_seconds` of {session.limit_seconds:g} are over: start a new session")
    # A short budget keeps a tenth of itself free: the usual margin could be more than all of it.
    margin = min(session.margin_seconds, left / 10)
    words = ["--session.limit-seconds", repr(left), "--session.margin-seconds", repr(margin)]
    return words, {SESSION_START: repr(now)}


def _parse(budget: str | float) -> float:
    """Return a budget in seconds."""
    try:
        wanted = duration(budget) if isinstance(budget, str) else float(budget)
    except (TypeError, ValueError):
        wanted = math.nan
    if not 0 < wanted < math.inf:
        raise ConfigError(f'`budget` must be like "90s", "45m" or "8h", or seconds above 0, got {budget!r}')
    return wanted


def _session_start(now: float) -> float:
    """Return when the session began, on `time.monotonic()`: on Kaggle with this process, elsewhere now."""
    if SESSION_START in os.environ:
        return float(os.environ[SESSION_START])
    return now - _age() if ON_KAGGLE in os.environ else now


def _age() -> float:
    """Return the seconds since this process began, by Linux; 0 elsewhere."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
