"""One process a folder: the second one is refused, and a process that dies leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imettk.errors import BusyError

NAME = ".lock"


@contextmanager
def hold_folder(folder: Path, *, lock: Path | None = None, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a folder for this process alone.

    A POSIX record lock: it ends with the process that took it, whatever becomes of its children (with `flock`, loader
    workers that outlive a killed trainer for a moment would hold it on).

    Args:
        lock: the file that is locked, where it must not lie in the folder.
        wait: is told who holds the folder, again and again until it is free; it may raise.

    Raises:
        BusyError: another process holds it, and there is no `wait`.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(lock or folder / NAME, "a+") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError):  # other faults, such as a disk without locks, are told as such
                file.seek(0)
                busy = f"{folder} is in use by {file.read().strip() or 'another process'}"
            if wait is None:
                raise BusyError(f"{busy}: wait for it, stop it, or use another --run-dir")
            wait(busy)
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
