"""The end of a command: its error in one line, and its exit code."""

from __future__ import annotations

import os
import select
import sys
import traceback

from imettk.config import EXIT_OUT_OF_MEMORY
from imettk.config.own import describe
from imettk.errors import TRACEBACK, DistributedOutOfMemoryError, PlatformError, UserError, describe_fault


def end_with(error: KeyboardInterrupt | Exception) -> None:
    """Print an error as one line, and exit with its code; raise a bug again."""
    if isinstance(error, KeyboardInterrupt):
        print("imettk: stopped", file=sys.stderr)
        leave(1)
        return
    if isinstance(error, BrokenPipeError) and _is_pipe_closed():
        leave(1)
    fault = _describe(error)
    if fault is None and "WORLD_SIZE" not in os.environ:
        raise error
    text, code = fault or ("", 1)  # a bug in one of several processes: its traceback, but no normal exit
    if os.environ.get(TRACEBACK) or not text:
        traceback.print_exception(error)
    if text:
        print(f"imettk: {text}", file=sys.stderr)
    leave(code)


def _describe(error: Exception) -> tuple[str, int] | None:
    """Return message and exit code of an error; None for a bug."""
    if isinstance(error, UserError):
        return str(error), EXIT_OUT_OF_MEMORY if isinstance(error, DistributedOutOfMemoryError) else 2
    if isinstance(error, PlatformError):
        return str(error), 1
    if (fault := describe_fault(error)) is not None:
        return fault
    in_own_code = describe(error)
    return None if in_own_code is None else (in_own_code, 2)


def _is_pipe_closed() -> bool:
    """Return whether the reader of our output has exited, as in `imettk ... | head`; if so, discard further output."""
    if not hasattr(select, "poll"):  # Windows
        return True
    is_closed = False
    for number in (1, 2):
        poll = select.poll()
        poll.register(number, select.POLLOUT)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            is_closed = True
    return is_closed


def leave(code: int) -> None:
    """Exit with this code."""
    if "WORLD_SIZE" in os.environ:  # one of several processes: a normal exit could wait for its peers
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
