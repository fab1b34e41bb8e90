"""File contents, sent to an upload address; an interrupted upload resumes at the byte that the server reports."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from imettk.kaggle.client import Kaggle, Unclear

_CHUNK = 1 << 20


class _Part:
    """The rest of a file from one byte on, as the body of a request.

    `requests` turns an error while reading the body into a fault of the connection, which would be tried again: it is
    kept here, so that the caller can tell the two apart.

    Attributes:
        fault: the error of the disk, or of a file that became shorter; None if there was none.
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
        """Return the next bytes, at most `length` of them."""
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
    """PUT a file's content to an upload address, resuming as often as it takes.

    Args:
        size: the size in bytes that was announced to the server; None for the file's size now.

    Raises:
        Refused: the server does not accept the file.
        Unclear: every try failed.
        OSError: the file cannot be read, or has become shorter.
    """
    start = 0
    size = path.stat().st_size if size is None else size

    def put() -> None:
        part = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
        with open(path, "rb") as file:
            content = _Part(file, start, size)
            try:
                # An empty file needs an explicit empty body: `requests` would send an empty iterator in chunks.
                answer = kaggle.put(url, content if size else b"", {"Content-Length": str(size - start), **part})
            except Exception:
                if content.fault is not None:
                    raise content.fault from None
                raise
        answer.raise_for_status()
        if answer.status_code == 308:
            raise Unclear(f"{what}: only a part of it has arrived")

    for failures in range(1, kaggle.patience.tries + 1):
        try:
            # Not repeated as it is: after a fault the server may hold a part, and the next request has to begin there.
            kaggle.repeat(put, what=what, repeat=False)
            return
        except Unclear:
            if failures == kaggle.patience.tries:
                raise
        kaggle.patience.wait(failures)
        start = _received_bytes(kaggle, url, size, start)
        if start >= size:
            return


def _received_bytes(kaggle: Kaggle, url: str, size: int, known: int) -> int:
    """Return how many bytes of an upload the server has (resumable uploads: status 308 and the range it holds)."""
    try:
        answer = kaggle.put(url, b"", {"Content-Length": "0", "Content-Range": f"bytes */{size}"})
    except Exception:  # no answer: the next try will show it
        return known
    if answer.status_code in (200, 201):
        return size
    received = answer.headers.get("Range", "")
    if answer.status_code == 308:
        return int(received.rpartition("-")[2]) + 1 if received else 0
    return 0
