"""Which image files a table's ids name, and that no id leads elsewhere."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.config.file_kinds import IMAGE_READERS
from imettk.data.csv_files import as_text, is_utf8, named, printable, require_utf8
from imettk.errors import DataError

IMAGE_ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")).union(
    *(kind.endings for kind in IMAGE_READERS.values())
)
ENDING_SIGNS = "._-"  # with which that begins which a file's name has behind its id
MOST_LOOKED_AT = 1000  # ids that are compared with the files
# Ids that may lead elsewhere: a step up, or the beginning of an absolute path, also as Windows writes it.
_LEADING = r"\.\.|^[/\\]|^[A-Za-z]:[/\\]"


def refuse_leaving(ids: pd.Series, csv: Path, folder: Path, data_dir: Path) -> None:
    """Raise `DataError` where ids are absolute paths, or lead out of both the data folder and that of the images, or
    the name of that one is no text.

    Links may lead anywhere, but not a step up from where they lead to.
    """
    require_utf8(folder)
    bad = [name for name in ids[ids.str.contains(_LEADING)].tolist() if _leaves(name, folder, data_dir)]
    if bad:
        raise DataError(
            f"{csv}: {named(bad, 'id')} would lead out of {data_dir}: an id is the name of an image in {folder}, "
            "or its path from there"
        )


def _leaves(name: str, folder: Path, data_dir: Path) -> bool:
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or re.fullmatch("[A-Za-z]:", parts[0]):
        return True
    if ".." not in parts:
        return False
    last_step = len(parts) - parts[::-1].index("..")
    for resolve in (os.path.abspath, os.path.realpath):
        place = resolve(os.path.join(folder, *parts[:last_step]))
        roots = [resolve(root) for root in (data_dir, folder)]
        if not any(place == root or place.startswith(root.rstrip(os.sep) + os.sep) for root in roots):
            return True
    return False


class FileIndex:
    """Names of files in one folder, found also by another ending or in another Unicode form (NFC and NFD).

    Args:
        names: of the files.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = set(names)
        self._stems: dict[str, list[str]] | None = None
        self._composed: dict[str, list[str]] = {}

    def find(self, name: str, suffix: str) -> list[str]:
        """Return the files that an id may mean, sorted: the one called so, or else all that are but for their ending.

        Args:
            suffix: expected behind the id.
        """
        if name + suffix in self._exact:
            return [name + suffix]
        if self._stems is None:
            self._stems = {}
            for file in sorted(self._exact):
                plain = compose(file)
                self._composed.setdefault(plain, []).append(file)
                self._stems.setdefault(without_ending(plain), []).append(file)
        plain, beside = compose(name), without_ending("_" + suffix)[1:]  # as `_mask` of `_mask.png`
        # An id may hold the suffix already.
        wholes = [plain + suffix, *([plain] if without_ending(plain).endswith(beside) else [])]
        for whole in wholes:
            if whole in self._composed:
                return self._composed[whole]
        for stem in map(without_ending, wholes):
            if stem in self._stems:
                return self._stems[stem]
        return self._stems.get(plain, []) if not beside else []


def compose(name: str) -> str:
    """Return a name in composed Unicode form (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def without_ending(name: str) -> str:
    """Return a name without the ending of an image file; any other stays."""
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in IMAGE_ENDINGS else name


def find_images(
    ids: pd.Series, csv: Path, folder: Path, table_format: TableFormat, remarks: list[str], *, alone: bool
) -> np.ndarray:
    """Return the file of each id, by its name from the folder, str (N,); "" where it has none.

    An image of several files is called with a `*` for the channel. Files that end otherwise than the format says
    become a remark, as do images that no row names where the folder is the table's alone.

    Raises:
        DataError: the folder is missing, an id means several files, or two ids mean one.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: the recipe's `table` names it as a folder of images")
    top = [entry.name for entry in os.scandir(folder)]  # one listing, not one stat a row
    suffix, channels = table_format.image_suffix, table_format.channel_files
    if channels:
        known = set(top)

        def is_there(file: str) -> bool:
            return (folder / file).is_file() if "/" in file else file in known

        files = np.array([find_channels(name, suffix, channels, is_there) for name in ids], object)
        used = {file.replace("*", channel) for file in files for channel in channels}
    else:
        files = np.array(_find_files(ids, suffix, top, folder, csv), object)
        used = set(files)
    _tell_others(ids, files, suffix, csv, remarks)
    ending = suffix.rpartition("*")[2]
    spare = sorted(name for name in {*top} - used if name.endswith(ending))
    if spare and alone:
        remarks.append(f"{folder}: {named(spare, 'image')} without a row in the table")
    return as_text(files)


def _find_files(ids: pd.Series, suffix: str, top: list[str], folder: Path, csv: Path) -> list[str]:
    """The file of each id, also where it lies in a folder within (`ab/ab12`)."""
    indices = {"": FileIndex(top)}
    files, doubtful = [], []
    for name in ids:
        inner, _, base = name.rpartition("/")
        if inner not in indices:
            indices[inner] = FileIndex(_list_names(folder / inner))
        found = indices[inner].find(base, suffix)
        if len(found) > 1:
            doubtful.append(f"{name}: {' or '.join(found)}")
        files.append(f"{inner}/{found[0]}" if found and inner else found[0] if found else "")
    if doubtful:
        raise DataError(
            f"{csv}: {named(doubtful, 'id')} that may mean several files in {folder}: say the ending with "
            "--table.image-suffix, or write it behind the id"
        )
    counts = Counter(file for file in files if file)
    if shared := [f"{name}: {file}" for name, file in zip(ids, files, strict=True) if counts[file] > 1]:
        raise DataError(f"{csv}: {named(shared, 'id')} that mean the same file as another one in {folder}")
    return files


def _list_names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except OSError:  # an id may name a folder that is not there
        return []


def find_channels(name: str, suffix: str, channels: Sequence[str], is_there: Callable[[str], bool]) -> str:
    """Return an id with the suffix, in the Unicode form in which it has a file for each channel; "" without.

    Args:
        suffix: with a `*` for the channel.
    """
    for form in dict.fromkeys((name, compose(name), unicodedata.normalize("NFD", name))):
        if all(is_there(form + suffix.replace("*", channel)) for channel in channels):
            return form + suffix
    return ""


def _tell_others(ids: pd.Series, files: np.ndarray, suffix: str, csv: Path, remarks: list[str]) -> None:
    """Remark files that are called otherwise than id and suffix."""
    other = np.array([bool(file) and file != name + suffix for name, file in zip(ids, files, strict=True)], bool)
    if other.any():
        pairs = [f"{name} is {file}" for name, file in zip(ids[other], files[other], strict=True)]
        what = f"followed by {suffix}" if suffix else "as it is"
        remarks.append(f"{csv}: {named(pairs, 'image')} found by another name than the id {what}")


def say_where(ids: pd.Series, folder: Path, table_format: TableFormat) -> str:
    """What the image of the first of these rows would be called, and what is there where another suffix would do."""
    suffix, name = table_format.image_suffix, str(ids.iloc[0])
    text = f"that of {printable(name)} would be {printable(name + suffix)}"
    if table_format.channel_files or table_format.lists_images:
        return text
    known = set(ids.iloc[:MOST_LOOKED_AT])
    for file in sorted(entry.name for entry in os.scandir(folder)):
        stems = [file, *(file[:at] for at in range(len(file) - 1, 0, -1) if file[at] in ENDING_SIGNS)]
        if (stem := next((stem for stem in stems if stem in known), None)) is not None and is_utf8(file):
            ending = file[len(stem) :]
            return f"{text}; there is {file}, so try --table.image-suffix {ending or repr(ending)}"
    return text
