"""Files that stay whole if the process is killed at any moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader finds the old content or the new, never a part."""
    with replace_atomically(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Provide a temporary name for the new content, which replaces `path` when the `with` block ends without an error.

    Raises:
        OSError: it cannot be written; the error names `path` instead of the temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        # On disk before it gets its name: otherwise a crash of the machine could leave the name with no content. Opened
        # for writing, because Windows flushes no other file.
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
