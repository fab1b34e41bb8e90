"""A lock on a folder: a second process is refused, and a process that dies leaves no stale lock."""

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

    Args:
        lock: the file to lock; None takes one in the folder.
        wait: called with a line on who holds the folder, again and again until it is free; it may raise.

    Raises:
        BusyError: another process holds it, and there is no `wait`.
    """
    # A POSIX record lock belongs to one process and ends with it. With `flock`, children inherit the lock, and loader
    # workers that outlive a killed trainer by a moment would keep the next one out.
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
            except (
                BlockingIOError,
                PermissionError,
            ):  # either means "held", says POSIX; other errors are real faults
                file.seek(0)
                busy = f"{folder} is in use by {file.read().strip() or 'another process'}"
            if wait is None:
                raise BusyError(f"{busy}: wait for it, stop it, or use another --run-dir")
            wait(busy)
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
