"""One process a folder: the second one is refused, and a process that dies leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imettk.errors import BusyError

NAME = ".lock"


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone.

    A POSIX record lock: it ends with the process that took it, whatever becomes of its children (with `flock`, loader
    workers that outlive a killed trainer for a moment would hold it on).

    Raises:
        BusyError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(folder / NAME, "a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise BusyError(f"{folder} is in use by {owner}: wait for it, stop it, or use another --run-dir") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
