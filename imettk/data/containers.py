"""Files that hold many images: each stands where a folder of images stands, and its images are its members.

The path of an image is `FILE/MEMBER`. A member is read as a file of its own would be: bytes of a file (JPEG, DICOM) as
they are, and numbers as the content of a `.npy` file, so that everything behind it treats both as ever. Several files
stand for one as a pattern, `train_*.parquet`; the path of an image names the file that holds it.
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

Shape = tuple[int, ...] | None  # as `table.pixel_shape` says it
LEAST_OPEN, MOST_OPEN = 8, 128  # containers a process
OPEN_BYTES = 1 << 29  # that these may keep in memory, where there are more than the fewest
HEAD_BYTES = 16
# What libraries raise at damaged files.
FAULTS = (OSError, ValueError, RuntimeError, LookupError, EOFError, zipfile.BadZipFile, zlib.error)


class NoImages(DataError):
    """A file that may hold many images holds none."""


class Container(Protocol):
    """One open file of many images; it is read by one thread at a time, in the process that opened it."""

    def names(self, wanted: Collection[str] = ()) -> Sequence[str]:
        """Return the names of all members, in the file's order; `DataError` where it cannot be read.

        Args:
            wanted: names of images, by which it shows whether an array is one image or holds many.
        """

    def read(self, name: str, shape: Shape) -> bytes:
        """Return the content of a member.

        Args:
            shape: of images whose numbers stand in a row, with no shape of their own.

        Raises:
            KeyError: there is none of this name.
            ValueError: it is damaged, or no image.
        """

    def frame(self) -> pd.DataFrame | None:
        """Return what stands beside the images, a row each, as text; None where the file is no table."""

    def most_bytes(self) -> int:
        """Return how many bytes it may come to keep in memory, of what it has decoded or knows."""

    def fault(self, shape: Shape) -> str | None:
        """Return why images of this shape cannot be read from it; None where they can."""


def container_kind(path: str | Path) -> ContainerKind | None:
    """Return the row that opens a file, by its name or else by its first bytes; None where it is no container."""
    if (kind := kind_of_name(CONTAINERS, os.path.basename(path))) is not None:
        return kind
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    return next((kind for kind in CONTAINERS.values() if kind.is_start(head)), None)


def find_files(folder: Path) -> list[Path]:
    """Return the files that a name stands for, which may be a pattern with `*`; none where it is a folder, or missing.

    Numbers in their names count: part 2 stands before part 10.
    """
    if folder.is_file():
        return [folder]
    if "*" not in folder.name or not folder.parent.is_dir():
        return []
    pattern = re.compile(".*".join(map(re.escape, folder.name.split("*"))))
    names = [entry.name for entry in os.scandir(folder.parent) if pattern.fullmatch(entry.name) and entry.is_file()]
    return [folder.parent / name for name in sorted(names, key=natural_order)]


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a key by which numbers within names are in order."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def list_members(folder: Path, shape: Shape, wanted: Collection[str] = ()) -> list[str] | None:
    """Return the names of the images in the container or containers of this name, or in a folder within one; None where
    it is none.

    Args:
        wanted: see `Container.names`.

    Raises:
        DataError: one cannot be opened, two hold images of one name, or their images lack a shape.
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
    """Return the names of all images in a container or several, whether they have a shape or not; as `list_members`."""
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
    """Return what stands beside the images in one table of pixels, or in several one below the other; None where it is
    no such table."""
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
    """Return the container that a path leads into, and the member's name; None where it leads into none."""
    inner = path
    while (outer := os.path.dirname(inner)) and outer != inner:
        if os.path.isfile(outer):
            return outer, path[len(outer) + 1 :].replace(os.sep, "/")
        if os.path.isdir(outer):
            return None
        inner = outer
    return None


def tell_slow(paths: Iterable[str]) -> list[str]:
    """Return a line for each container among these images' that is slow to read at random."""
    folders = {os.path.dirname(path): path for path in paths}  # of each the container is looked for once
    files = dict.fromkeys(parts[0] for path in folders.values() if (parts := split_path(path)) is not None)
    slow = [file for file in files if (kind := container_kind(file)) is not None and kind.in_order]
    return [f"{file}: reading its rows at random is slow: let `cache` hold them" for file in slow]


def read_member(path: str, shape: Shape = None) -> bytes | None:
    """Return the content of an image in a container; None where the path leads into none.

    Raises:
        DataError: it is not there, or cannot be read; the message names the path.
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
    numbers = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return b"".join((_npy_header(array.dtype, array.shape), numbers.data))


@lru_cache(maxsize=64)  # of images of one size
def _npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    header = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    content = header.encode("latin1") + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content


class _Shelf:
    """The containers that one process has open, and a lock for each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[tuple[int, ...], threading.Lock, Container]] = OrderedDict()

    def take(self, path: str, make: Callable[[], Container]) -> tuple[threading.Lock, Container]:
        """Return a container, opened where it is not open yet or its file is another one by now."""
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            there = self._open.get(path)
            if there is None or there[0] != identity:
                there = None
                self._open.pop(path, None)  # closed first: HDF5 would hand out what it knows of the file
                there = self._open[path] = identity, threading.Lock(), make()
                self._close_some()
            self._open.move_to_end(path)
            return there[1:]

    def _close_some(self) -> None:
        """Close those not read for longest; many small ones stay open, as images may come from all in turn."""
        total = sum(container.most_bytes() for _, _, container in self._open.values())
        while len(self._open) > MOST_OPEN or (len(self._open) > LEAST_OPEN and total > OPEN_BYTES):
            _, (_, _, container) = self._open.popitem(last=False)
            total -= container.most_bytes()


# By process: what libraries have open must not be used by a process that inherits it.
_SHELVES: dict[int, _Shelf] = {}


@contextmanager
def opened(path: str) -> Iterator[Container]:
    """Yield an open container, which no other thread uses meanwhile.

    Raises:
        DataError: it cannot be opened, or the library that reads it is not installed.
    """
    if (kind := container_kind(path)) is None:
        raise DataError(f"{path} is no folder, and no file of many images that can be read")

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
