"""Containers, files that hold many images: recognised by their headers and first rows, never read whole as text."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.config.file_kinds import CONTAINERS, MissingLibraryError, kind_of_name
from imettk.data.containers import NoImages, container_frame, member_names, opened
from imettk.data.image_files import ENDING_SIGNS, without_ending
from imettk.data.part_names import is_within
from imettk.data.pixel_tables import ID_NAME, ROW, PixelTable, find_id_column, is_square
from imettk.errors import DataError
from imettk.starter.finding import Finding

MAX_FILES = 50  # if a folder has more files of one extension, each of them is an image
MIN_OBLONG_PIXELS = 1024  # pixels of an image that is not square: fewer columns of numbers may be measurements
PEEKED_ROWS = 8  # first rows, which show whether numbers in columns are pixels
ARRAYS = (".npy", ".npz")  # such a file may be a container, or a single image
_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")


@dataclass(frozen=True)
class Containers:
    """The containers in a folder, keyed by name or pattern relative to it.

    Attributes:
        images: the names of images in each container or folder within one; for NumPy files by their folder.
        tables: the columns beside the pixels in a table of pixels, if there are more than the images' names.
        reasons: how each container is understood.
        files: all files that belong to containers.
        unread: why a file cannot be read, one line each.
        missing: errors for files whose library is not installed.
    """

    images: dict[str, list[str]] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)
    missing: list[MissingLibraryError] = field(default_factory=list)

    def findings(self, form: TableFormat) -> list[Finding]:
        """Return a line for each container that holds images of this format."""
        used = dict.fromkeys((form.train_images, form.test_images))
        names = dict.fromkeys(name for place in used for name in self.reasons if is_within(place, name))
        change = "table.train_images, .test_images, .pixel_shape"
        return [Finding("images in a file", name, self.reasons[name], change) for name in names]


def find_containers(data_dir: Path, paths: Sequence[str]) -> Containers:
    """Return those of these files that hold many images."""
    found = Containers()
    counts = Counter(map(_place, paths))
    patterns: dict[str, list[str]] = {}
    for path in paths:
        folder, ending = _place(path)
        kind = kind_of_name(CONTAINERS, path)
        if kind is None or counts[folder, ending] > MAX_FILES:
            continue
        try:
            if not _holds_images(data_dir / path):
                continue
        except MissingLibraryError as error:
            found.missing.append(error)
            continue
        except DataError as error:
            # Anything else may be a table or an image, and the reader of that reports what is wrong with it.
            if kind is CONTAINERS["hdf5"] and not isinstance(error, NoImages):
                found.unread.append(str(error))
            continue
        patterns.setdefault(f"{folder}{_LAST_NUMBER.sub('*', path[len(folder) :])}", []).append(path)
    for pattern, files in patterns.items():
        for name in [pattern] if len(files) > 1 and _is_one(data_dir / pattern) else files:
            _add(found, data_dir, name)
        found.files.update(files)
    return found


def add_arrays(found: Containers, data_dir: Path, paths: Sequence[str], tables: Mapping[str, pd.DataFrame]) -> None:
    """Add those NumPy files that are containers, and all others as images.

    A file is a container only if ids name its members: an array (N, H, W) may be N images or a stack of slices, and
    the number of files does not tell the two apart.
    """
    for ending in ARRAYS:
        files = [path for path in paths if path.lower().endswith(ending)]
        arrays = find_containers(data_dir, files)
        members = {without_ending(name) for names in arrays.images.values() for name in names}
        if members and _name_members(tables, members, {stem for path in files for stem in _stems(path)}):
            found.images.update(arrays.images)
            found.reasons.update(arrays.reasons)
            found.files.update(arrays.files)
    for folder, _, name in (path.rpartition("/") for path in paths if path not in found.files):
        found.images.setdefault(folder or ".", []).append(name)
    _settle(found, data_dir, {name for ids in _ids(tables) for name in ids})


def _settle(found: Containers, data_dir: Path, ids: set[str]) -> None:
    """List the images of HDF5 and .npz containers again, now that ids tell whether an array is one image or many."""
    kinds = CONTAINERS["hdf5"], CONTAINERS["npz"]
    for name in [name for name in found.reasons if kind_of_name(CONTAINERS, name) in kinds]:
        for place in [place for place in found.images if is_within(place, name)]:
            del found.images[place]
        _add(found, data_dir, name, ids)


def _ids(tables: Mapping[str, pd.DataFrame]) -> Iterator[list[str]]:
    """Yield the distinct cells of each column that may hold ids."""
    for frame in tables.values():
        for column in map(str, frame.columns):
            if ID_NAME.fullmatch(column) or frame[column].is_unique:
                yield frame[column].unique().tolist()


def _stems(path: str) -> list[str]:
    """Return all ids that may name this file, or the folder that it lies in."""
    *folders, name = path.split("/")
    return [*folders[-1:], *(name[:at] for at in range(1, len(name)) if name[at] in ENDING_SIGNS)]


def _name_members(tables: Mapping[str, pd.DataFrame], members: set[str], files: set[str]) -> bool:
    """Return whether a column of ids names members of files, and no column names files."""
    named = False
    for cells in _ids(tables):
        ids = {without_ending(cell.rpartition("/")[2]) for cell in cells}
        of_files, of_members = len(ids & files), len(ids & members)
        if of_files >= max(1, of_members):
            return False
        named = named or of_members > 0
    return named


def _place(path: str) -> tuple[str, str]:
    """Return the folder of a file, with its final slash, and the extension."""
    folder, slash, name = path.rpartition("/")
    return folder + slash, os.path.splitext(name)[1].lower()


def _is_one(pattern: Path) -> bool:
    """Return whether the files of a pattern can be read as one container: no two hold images of the same name."""
    try:
        return member_names(pattern) is not None
    except DataError:
        return False


def _holds_images(path: Path) -> bool:
    """Return whether a file holds images.

    Raises:
        DataError: it cannot be opened.
    """
    with opened(str(path)) as container:
        return _are_pixels(container) if isinstance(container, PixelTable) else len(container.names()) > 0


def _are_pixels(table: PixelTable) -> bool:
    """Return whether the numbers of a table are pixels, and not labels or measurements.

    Columns of labels hold only 0 and 1; measurements have fractions, or too few columns for an image.
    """
    planes = table.planes
    if planes.pixels == 0:
        return True
    is_run = any(len(columns) > 1 for columns in planes.columns)
    if not is_square(planes.pixels) and planes.pixels < MIN_OBLONG_PIXELS:
        return False
    if not is_run:
        return True
    images = [np.load(io.BytesIO(table.read(name, None)), allow_pickle=False) for name in table.names()[:PEEKED_ROWS]]
    are_whole = all((image == np.rint(image)).all() for image in images)
    return are_whole and any(image.max(initial=0) > 1 for image in images)


def _add(found: Containers, data_dir: Path, name: str, ids: Collection[str] = ()) -> None:
    """Add the images of a container or pattern, and the columns beside them.

    Args:
        ids: ids that may name the images.
    """
    members = member_names(data_dir / name, ids) or []
    for member in members:
        folder, slash, base = member.rpartition("/")
        found.images.setdefault(f"{name}/{folder}" if slash else name, []).append(base)
    kind = kind_of_name(CONTAINERS, name)
    how = ""
    if (frame := container_frame(data_dir / name)) is not None:
        id_column = find_id_column(frame.drop(columns=ROW, errors="ignore"))
        how = f", named by column {id_column}" if id_column else ", named by row number from 1"
        if len(frame.columns) > 1:
            found.tables[name] = frame
    found.reasons[name] = f"{'' if kind is None else kind.title} of {len(members)} images{how}"
