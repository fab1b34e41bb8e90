"""Failures of one training among several: those of its own recipe, and those that the others would meet too."""

from __future__ import annotations

import traceback

from imettk.config.own import describe
from imettk.errors import BusyError, UserError, describe_fault


def describe_failure(error: Exception) -> str | None:
    """Return why a training failed, in one line; None if the machine or another process is the reason.

    A bug of this package is printed with its traceback, as nobody would find it otherwise.
    """
    if isinstance(error, BusyError):
        return None
    if isinstance(error, UserError):
        return str(error)
    if (in_own_code := describe(error)) is not None:
        return in_own_code
    if (fault := describe_fault(error)) is not None:  # out of memory is a matter of this recipe, a full disk is not
        return fault[0] if isinstance(error, MemoryError) else None
    traceback.print_exception(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    lines = str(error).strip().splitlines() or [""]
    line = lines[-1] if "Traceback" in str(error) else lines[0]  # a loader worker's error ends with its own
    return f"{place.filename}, line {place.lineno}: {type(error).__name__}: {line}"
