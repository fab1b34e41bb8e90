"""What a user can get wrong. Each error is one clear line: what, where, and what to do next.

The command line prints the message and exits with code 2, without a traceback. A `PlatformError` is printed the same
way, with code 1, and so is an `OSError`, as `describe_fault` says it. Anything else that is raised is a bug.
"""

from __future__ import annotations

import errno
import os
import re

_PERMISSION = 2, "name a place that may be read and written, or change its permissions"
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
    errno.EIO: (1, "the disk, or the way to it, fails"),
}


class UserError(Exception):
    """Something outside the program has to change before it can go on; the message says what."""


class ConfigError(UserError):
    """A recipe, or an option that overrides one of its fields, is not valid.

    Not a ValueError: pydantic and tyro would catch that and wrap our one line in many of their own.
    """


class DataError(UserError):
    """A competition's table or images are not what the recipe says they are."""


class MissingFileError(UserError):
    """A file that another stage writes is not there; the message names the stage."""


class MismatchError(UserError):
    """Two things that must belong to the same experiment do not: checkpoint and recipe, folds and table."""


class CheckpointError(UserError):
    """No checkpoint can be used although there are some."""


class DeviceError(UserError):
    """The wanted device cannot run what is asked of it."""


class DistributedOutOfMemoryError(DeviceError):
    """One of several processes ran out of memory: all have to start again, with smaller micro-batches."""


class TrainingError(UserError):
    """Training as the recipe asks for it does not work: the loss is not finite, whatever is tried."""


class BusyError(UserError):
    """Another process works in the same folder."""


class PlatformError(Exception):
    """The platform failed, or said no; one line as well, but the exit code is 1: nobody's input was wrong."""


def describe_fault(error: BaseException) -> tuple[str, int] | None:
    """One line for a fault of the machine, or of a path, and its exit code; None where it is neither.

    The code is 2 where another path or other permissions help, else 1.
    """
    if isinstance(error, MemoryError):
        return f"memory is short: {_MEMORY[1]}", 1
    # Libraries written in Rust, such as safetensors, say a system's fault in these words.
    found = re.search(r"\(os error (\d+)\)", str(error))
    number = int(found[1]) if found else 0
    if isinstance(error, OSError):
        number = error.errno or number
    elif found:
        error = OSError(number, os.strerror(number))
    else:
        return None
    places = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    code, advice = _ADVICE.get(number, (1, "IMETTK_TRACEBACK=1 shows where"))
    what = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return ": ".join([*([" -> ".join(places)] if places else []), what, advice]), code
