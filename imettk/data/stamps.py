"""Detect changed image files: by size and time, or else by a hash of head, middle and tail.

A file that holds many images is hashed completely, because any one of them may change.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from imettk.data.containers import split_path
from imettk.progress import progress_bar

SAMPLE_BYTES = 4096  # of head, middle and tail each
BLOCK_BYTES = 1 << 20  # read at once when a whole file is hashed
THREADS = 8  # more than cores: most of the time is spent waiting for a mounted file system
LONG = 2000  # files from which hashing shows a progress bar
MISSING = -1


class FileStamps(NamedTuple):
    """Stamps of N images, int64 (N,) each.

    Attributes:
        sizes: total bytes of an image's files; `MISSING` if one does not exist.
        times: modification time in nanoseconds since the epoch; the sum over several files.
        hashes: hash of size, head, middle and tail; see `hash_files`.
    """

    sizes: np.ndarray
    times: np.ndarray
    hashes: np.ndarray

    def take(self, rows: np.ndarray) -> FileStamps:
        """Return the stamps of some images, int64 (M,), in this order."""
        return FileStamps(*(part[rows] for part in self))


def stamp_files(paths: np.ndarray, channel_files: tuple[str, ...], *, known: FileStamps | None = None) -> FileStamps:
    """Stamp image files; files whose size and time are `known` are not opened."""
    sizes, times = stat_files(paths, channel_files)
    hashes = np.zeros(len(paths), np.int64)
    same = np.zeros(len(paths), bool)
    if known is not None:
        same = (known.sizes == sizes) & (known.times == times) & (sizes != MISSING)
        hashes[same] = known.hashes[same]
    rows = np.flatnonzero(~same)
    hashes[rows] = hash_files(paths[rows], channel_files)
    return FileStamps(sizes, times, hashes)


def stat_files(paths: np.ndarray, channel_files: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return size and time of each image's files, int64 (N,) each; see `FileStamps`.

    Args:
        paths: str (N,), with a `*` if an image is several files.
        channel_files: replacements of `*`, one per file.
    """
    holders = _Holders()
    stats = [_stat(path, channel_files, holders) for path in paths.tolist()]
    sizes, times = np.array(stats, np.int64).reshape(-1, 2).T
    return sizes, times


def hash_files(paths: np.ndarray, channel_files: tuple[str, ...]) -> np.ndarray:
    """Hash the size and `SAMPLE_BYTES` at head, middle and tail of each image's files, int64 (N,).

    Different images differ in one of these. A missing or unreadable file has 0. For an image in a container, the hash
    covers the whole container, which is read once, and the image's name.
    """
    if not len(paths):
        return np.zeros(0, np.int64)
    hidden, holders = len(paths) < LONG, _Holders()
    with (
        ThreadPoolExecutor(THREADS) as pool,
        progress_bar("compare images", total=len(paths), unit="image", hidden=hidden) as bar,
    ):
        hashes = []
        for value in pool.map(lambda path: _hash(path, channel_files, holders), paths.tolist(), chunksize=64):
            hashes.append(value)
            bar.update(1)
    return np.array(hashes, np.int64)


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting: a pipe among the images would block until somebody writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _files(path: str, channel_files: Sequence[str]) -> list[str]:
    return [path.replace("*", channel) for channel in channel_files] if channel_files else [path]


class _Holders:
    """The containers of images; each is looked up once for the lifetime of this object, one pass over many images."""

    def __init__(self) -> None:
        self._places: dict[str, str | None] = {}
        self._stats: dict[str, os.stat_result] = {}

    def find(self, path: str) -> str | None:
        """Return the container of an image; None if it is a file by itself."""
        folder = os.path.dirname(path)
        if folder not in self._places:
            parts = split_path(path)
            self._places[folder] = None if parts is None else parts[0]
        return self._places[folder]

    def stat(self, holder: str) -> os.stat_result:
        """Return the status of a container."""
        if holder not in self._stats:
            self._stats[holder] = os.stat(holder)
        return self._stats[holder]

    def digest(self, holder: str) -> bytes:
        """Return a hash of a container's whole content."""
        # Kept for the process by the file's identity: a container of several GB must not be read once per table.
        status = self.stat(holder)
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with _HASHING:  # one thread reads the file, the others wait for its result
            if identity not in _DIGESTS:
                _DIGESTS[identity] = _hash_whole(holder)
            return _DIGESTS[identity]


_HASHING = threading.Lock()
_DIGESTS: dict[tuple[int, ...], bytes] = {}  # of containers, by device, inode, size and time


def _stat(path: str, channel_files: Sequence[str], holders: _Holders) -> tuple[int, int]:
    size = time = 0
    for file in _files(path, channel_files):
        try:
            holder = holders.find(file)
            status = os.stat(file) if holder is None else holders.stat(holder)
        except (OSError, ValueError):
            return MISSING, 0
        size, time = size + status.st_size, (time + status.st_mtime_ns) % 2**62  # sums stay within int64
    return size, time


def _hash(path: str, channel_files: Sequence[str], holders: _Holders) -> int:
    digest = hashlib.blake2b(digest_size=8)
    try:
        for file in _files(path, channel_files):
            if (holder := holders.find(file)) is None:
                _sample(file, digest)
            else:
                digest.update(holders.digest(holder) + file[len(holder) :].encode("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return 0
    return int.from_bytes(digest.digest(), "little", signed=True)


def _hash_whole(file: str) -> bytes:
    digest, block = hashlib.blake2b(digest_size=8), bytearray(BLOCK_BYTES)
    with open(file, "rb", buffering=0, opener=_open_at_once) as opened:
        while count := opened.readinto(block):
            digest.update(memoryview(block)[:count])
    return digest.digest()


def _sample(file: str, digest: hashlib.blake2b) -> None:
    """Hash a file's size, head, middle and tail."""
    with open(file, "rb", buffering=0, opener=_open_at_once) as opened:
        size = os.fstat(opened.fileno()).st_size
        # 12 kB instead of the whole file: a changed image practically always changes its size, head, middle or tail.
        digest.update(size.to_bytes(8, "little"))
        last = max(0, size - SAMPLE_BYTES)
        for start in sorted({0, last // 2, last}):
            opened.seek(start)
            digest.update(opened.read(SAMPLE_BYTES) or b"")
