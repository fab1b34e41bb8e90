"""Errors that a user can correct. Each is one clear line: what is wrong, where, and what to do next.

The command line prints the message and exits with code 2, without a traceback. It prints a `PlatformError` in the same
way, with code 1, and an `OSError` with text and code from `describe_fault`. Any other exception is a bug.
"""

from __future__ import annotations

import errno
import os
import re
import traceback

# Exit codes and advice. 2: another path or other permissions help; 1: the machine has a problem.
_PERMISSION = 2, "use a path that may be read and written, or change its permissions"
_SPACE = 1, "free some space, or use another disk, and run the same command again"
_MEMORY = 1, "lower --session.num-workers, or use a machine with more memory"
_ADVICE = {
    errno.ENOENT: (2, "is the path right?"),
    errno.ENOTDIR: (2, "a file stands where a folder should be"),
    errno.EEXIST: (2, "a file stands where a folder should be"),
    errno.EISDIR: (2, "a folder stands where a file should be"),
    errno.ENAMETOOLONG: (2, "use a shorter name"),
    errno.EROFS: _PERMISSION,
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.ENOSPC: _SPACE,
    getattr(errno, "EDQUOT", errno.ENOSPC): _SPACE,
    errno.EFBIG: (1, "see `ulimit -f`, or use another disk"),
    errno.EMFILE: (1, "see `ulimit -n`, or lower --session.num-workers"),
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _MEMORY,
    errno.EIO: (1, "the disk or its connection is failing"),
}


TRACEBACK = "IMETTK_TRACEBACK"  # environment: show tracebacks of errors that a user can correct, too


class PlainError(Exception):
    """An error whose message says it all."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows in a cell: the message alone, as on the command line."""
        if os.environ.get(TRACEBACK):
            return traceback.format_exception(self)
        return [f"{type(self).__name__}: {self}"]


class UserError(PlainError):
    """Something outside the program has to change before it can continue; the message says what."""


class ConfigError(UserError):
    """A recipe, or an option that overrides one of its fields, is not valid.

    Not a ValueError: pydantic and tyro would catch it and wrap our one line in many of their own.
    """


class DataError(UserError):
    """A competition's table or images do not match the recipe."""


class MissingFileError(UserError):
    """A file that another command writes is missing; the message names the command."""


class MismatchError(UserError):
    """Two things that must belong to the same experiment do not: checkpoint and recipe, folds and table."""


class CheckpointError(UserError):
    """There are checkpoints, but none can be used."""


class DeviceError(UserError):
    """The device is missing, or cannot run the requested operations."""


class DistributedOutOfMemoryError(DeviceError):
    """One of several processes ran out of memory: all have to start again, with smaller micro-batches."""


class TrainingError(UserError):
    """Training with this recipe fails: the loss stays non-finite after every remedy."""


class BusyError(UserError):
    """Another process is working in the same folder."""


class PlatformError(PlainError):
    """The platform failed or refused; the message is one line as well, but the exit code is 1: no input was wrong."""


def describe_fault(error: BaseException) -> tuple[str, int] | None:
    """Describe a fault of the machine or of a path in one line, with its exit code; None for any other error.

    The code is 2 if another path or other permissions would help, otherwise 1.
    """
    if isinstance(error, MemoryError):
        return f"out of memory: {_MEMORY[1]}", 1
    # Libraries written in Rust, such as safetensors, report the system's errors only in their message.
    match = re.search(r"\(os error (\d+)\)", str(error))
    number = int(match[1]) if match else 0
    if isinstance(error, OSError):
        number = error.errno or number
    elif match:
        error = OSError(number, os.strerror(number))
    else:
        return None
    places = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    code, advice = _ADVICE.get(number, (1, "IMETTK_TRACEBACK=1 shows where"))
    what = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return ": ".join([*([" -> ".join(places)] if places else []), what, advice]), code
