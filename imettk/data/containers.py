"""Files that hold many images: each takes the place of a folder of images, and its images are its members.

The path of an image is `FILE/MEMBER`. A member reads like a file of its own: encoded images (JPEG, DICOM) are returned
unchanged, and arrays as the content of a `.npy` file, so that all later code handles both without knowing. Several
files can be given as a pattern, `train_*.parquet`; the path of an image names the one that holds it.
"""

from __future__ import annotations

import os
import re
import threading
import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from imettk.config.file_kinds import CONTAINERS, ContainerKind, kind_of_name
from imettk.data.csv_files import list_names
from imettk.errors import DataError

Shape = tuple[int, ...] | None  # `table.pixel_shape`
LEAST_OPEN, MOST_OPEN = 8, 128  # open containers per process
OPEN_BYTES = 1 << 29  # memory of open containers, once there are more than LEAST_OPEN
HEAD_BYTES = 16
# Exceptions of the libraries at damaged files.
FAULTS = (OSError, ValueError, RuntimeError, LookupError, EOFError, zipfile.BadZipFile, zlib.error)


class NoImages(DataError):
    """A container without images."""


class Container(Protocol):
    """An open file of many images, read by one thread at a time in the process that opened it."""

    def names(self, wanted: Collection[str] = ()) -> Sequence[str]:
        """Return the names of all members in file order; raise `DataError` if the file cannot be read.

        Args:
            wanted: names of images, which decide whether an array is one image or holds many.
        """

    def read(self, name: str, shape: Shape) -> bytes:
        """Return the content of a member.

        Args:
            shape: shape of images that are stored as flat rows of numbers.

        Raises:
            KeyError: there is no member of this name.
            ValueError: it is damaged, or not an image.
        """

    def frame(self) -> pd.DataFrame | None:
        """Return the columns beside the images, one row each, as text; None if the file is not a table."""

    def most_bytes(self) -> int:
        """Return an upper bound of the memory that decoded blocks and indices take."""

    def fault(self, shape: Shape) -> str | None:
        """Return why images of this shape cannot be read from it; None if they can."""


def container_kind(path: str | Path) -> ContainerKind | None:
    """Return the row for a file by its name, or else by its first bytes; None if it is not a container."""
    if (kind := kind_of_name(CONTAINERS, os.path.basename(path))) is not None:
        return kind
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    return next((kind for kind in CONTAINERS.values() if kind.is_start(head)), None)


def find_files(folder: Path) -> list[Path]:
    """Return the files that a path or a pattern with `*` stands for; none for a folder or a missing path.

    Numbers in names are ordered by value: part 2 comes before part 10.
    """
    if folder.is_file():
        return [folder]
    if "*" not in folder.name or not folder.parent.is_dir():
        return []
    # Not `glob`: brackets in a name are ordinary characters, only `*` is special.
    pattern = re.compile(".*".join(map(re.escape, folder.name.split("*"))))
    names = [entry.name for entry in os.scandir(folder.parent) if pattern.fullmatch(entry.name) and entry.is_file()]
    return [folder.parent / name for name in sorted(names, key=natural_order)]


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key that orders numbers within names by value."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def list_members(folder: Path, shape: Shape, wanted: Collection[str] = ()) -> list[str] | None:
    """Return the names of the images in a container, in several, or in a folder inside one; None if there is none.

    Args:
        wanted: see `Container.names`.

    Raises:
        DataError: a container cannot be opened, two hold images of the same name, or images need a shape.
    """
    inner = None if find_files(folder) else split_path(str(folder))
    top = folder if inner is None else Path(inner[0])
    for file in find_files(top):
        with opened(str(file)) as container:
            if (fault := container.fault(shape)) is not None:
                raise DataError(f"{file}: {fault}")
    names = member_names(top, wanted)
    if names is None or inner is None:
        return names
    return [name.removeprefix(f"{inner[1]}/") for name in names if name.startswith(f"{inner[1]}/")]


def member_names(folder: Path, wanted: Collection[str] = ()) -> list[str] | None:
    """Return the names of all images in one or several containers, without checking `shape`; see `list_members`."""
    if not (files := find_files(folder)):
        return None
    names: list[str] = []
    for file in files:
        with opened(str(file)) as container:
            names += container.names(wanted)
    if len(files) > 1 and (twice := [name for name, count in Counter(names).items() if count > 1]):
        raise DataError(f"{folder}: {list_names(twice, 'image')} in more than one of {len(files)} files")
    return names


def container_frame(folder: Path) -> pd.DataFrame | None:
    """Return the columns beside the images of one or several tables of pixels; None if it is not such a table."""
    frames: list[pd.DataFrame] = []
    for file in find_files(folder):
        if container_kind(file) is None:
            return None
        try:
            with opened(str(file)) as container:
                if (frame := container.frame()) is None:
                    return None
                frames.append(frame)
        except NoImages:
            return None
    return pd.concat(frames, ignore_index=True) if frames else None


def split_path(path: str) -> tuple[str, str] | None:
    """Split a path into the container that it leads into and the name of the member; None if it leads into none."""
    inner = path
    # Most paths lead into a folder: the walk upwards ends at the first path that exists.
    while (outer := os.path.dirname(inner)) and outer != inner:
        if os.path.isfile(outer):
            return outer, path[len(outer) + 1 :].replace(os.sep, "/")
        if os.path.isdir(outer):
            return None
        inner = outer
    return None


def warn_slow_containers(paths: Iterable[str]) -> list[str]:
    """Return a warning for each container of these images that is slow to read at random."""
    folders = {os.path.dirname(path): path for path in paths}  # one path per folder: splitting asks the file system
    files = dict.fromkeys(parts[0] for path in folders.values() if (parts := split_path(path)) is not None)
    slow = [file for file in files if (kind := container_kind(file)) is not None and kind.in_order]
    return [f"{file}: reading its rows in random order is slow: use --cache.kind pixels or jpeg" for file in slow]


def read_member(path: str, shape: Shape = None) -> bytes | None:
    """Return the content of an image in a container; None if the path leads into none.

    Raises:
        DataError: there is no such image, or it cannot be read; the message names the path.
    """
    if (parts := split_path(path)) is None:
        return None
    file, name = parts
    with opened(file) as container:
        try:
            return container.read(name, shape)
        except KeyError:
            raise DataError(f"{path} cannot be read: {file} holds no {name}") from None
        except FAULTS as error:
            raise DataError(f"{path} cannot be read: {_one_line(error)}") from None


def npy_content(array: np.ndarray) -> bytes:
    """Return an array as the content of a `.npy` file."""
    if array.dtype.hasobject:
        raise ValueError("it holds objects, not numbers")
    # As bytes: `tobytes` would copy the numbers once more before they are joined.
    numbers = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return b"".join((_npy_header(array.dtype, array.shape), numbers.data))


@lru_cache(maxsize=64)  # one entry per size of images
def _npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    header = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    content = header.encode("latin1") + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content


class _Shelf:
    """The open containers of a process, with a lock for each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[tuple[int, ...], threading.Lock, Container]] = OrderedDict()

    def take(self, path: str, make: Callable[[], Container]) -> tuple[threading.Lock, Container]:
        """Return a container; open it if it is not open yet or its file was replaced."""
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            there = self._open.get(path)
            if there is None or there[0] != identity:
                there = None
                self._open.pop(path, None)  # close before opening: HDF5 would return its cached state of the file
                there = self._open[path] = identity, threading.Lock(), make()
                self._close_some()
            self._open.move_to_end(path)
            return there[1:]

    def _close_some(self) -> None:
        """Close the least recently used containers; many small ones stay open, as images may come from all in turn."""
        # By the memory they hold, not by their number alone: with eight at most, nine csv shards that are read in turn
        # would each be opened again for every image.
        total = sum(container.most_bytes() for _, _, container in self._open.values())
        while len(self._open) > MOST_OPEN or (len(self._open) > LEAST_OPEN and total > OPEN_BYTES):
            _, (_, _, container) = self._open.popitem(last=False)
            total -= container.most_bytes()


# Keyed by process: a forked worker must not use the file handles that libraries opened in its parent.
_SHELVES: dict[int, _Shelf] = {}


@contextmanager
def opened(path: str) -> Iterator[Container]:
    """Yield an open container, locked against other threads.

    Raises:
        DataError: it cannot be opened, or the library for it is not installed.
    """
    if (kind := container_kind(path)) is None:
        raise DataError(f"{path} is neither a folder nor a readable file of many images")

    def make() -> Container:
        container: Container = kind.load_for(path)(path)
        return container

    try:
        lock, container = _SHELVES.setdefault(os.getpid(), _Shelf()).take(path, make)
        with lock:
            yield container
    except NoImages as error:
        raise NoImages(f"{path} holds no images: {error}") from None
    except DataError:
        raise
    except FAULTS as error:
        raise DataError(f"{path} cannot be read: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
