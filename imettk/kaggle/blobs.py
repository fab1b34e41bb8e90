"""Content of files, sent to an upload address: a broken upload goes on where the server says that it stands."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from imettk.kaggle.client import Kaggle, Unclear

_CHUNK = 1 << 20


class _Part:
    """A file from a byte up to its size, to be sent; a fault in reading it, taken for the wire's, is remembered.

    Attributes:
        fault: of the disk, or of a file that has changed.
    """

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        file.seek(start)
        self._file, self._left = file, size - start
        self.fault: OSError | None = None

    def __len__(self) -> int:
        return self._left

    def __iter__(self) -> Iterator[bytes]:
        while content := self.read(_CHUNK):
            yield content

    def read(self, length: int = -1) -> bytes:
        """The next bytes, at most so many."""
        try:
            content = self._file.read(self._left if length < 0 else min(length, self._left))
            if not content and self._left and length:
                raise OSError(errno.EIO, "became shorter while it was sent", self._file.name)
        except OSError as error:
            error.filename = error.filename or self._file.name
            self.fault = error
            raise
        self._left -= len(content)
        return content


def send_blob(kaggle: Kaggle, path: Path, url: str, *, what: str, size: int | None = None) -> None:
    """PUT a file's content to an upload address, in as many pieces as it takes.

    Args:
        size: in bytes, as the server was told; None where that was just now.

    Raises:
        Refused: the server does not take the file.
        Unclear: it could not be sent in all tries.
        OSError: the file cannot be read, or has become shorter.
    """
    start = 0
    size = path.stat().st_size if size is None else size

    def put() -> None:
        part = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
        with open(path, "rb") as file:
            content = _Part(file, start, size)
            try:
                # A request without body must say so: requests would send an empty file in chunks.
                answer = kaggle.put(url, content if size else b"", {"Content-Length": str(size - start), **part})
            except Exception:
                if content.fault is not None:
                    raise content.fault from None
                raise
        answer.raise_for_status()
        if answer.status_code == 308:
            raise Unclear(f"{what}: only a part has arrived")

    for failures in range(1, kaggle.patience.tries + 1):
        try:
            kaggle.repeat(put, what=what, repeat=False)
            return
        except Unclear:
            if failures == kaggle.patience.tries:
                raise
        kaggle.patience.wait(failures)
        start = _held(kaggle, url, size, start)
        if start >= size:
            return


def _held(kaggle: Kaggle, url: str, size: int, known: int) -> int:
    """How many bytes of an upload the server has (the protocol of resumable uploads: 308 and the range it holds)."""
    try:
        answer = kaggle.put(url, b"", {"Content-Length": "0", "Content-Range": f"bytes */{size}"})
    except Exception:  # no answer: the next try tells
        return known
    if answer.status_code in (200, 201):
        return size
    held = answer.headers.get("Range", "")
    if answer.status_code == 308:
        return int(held.rpartition("-")[2]) + 1 if held else 0
    return 0
