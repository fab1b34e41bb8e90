"""Names of image files: matching ids to files, and ids that would lead out of the data folder."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from imettk.config.file_kinds import IMAGE_READERS
from imettk.data.csv_files import list_names, require_utf8
from imettk.errors import DataError

IMAGE_ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")).union(
    *(kind.endings for kind in IMAGE_READERS.values())
)
ENDING_SIGNS = "._-"  # first characters of what may follow an id in a file name
# Ids that may lead elsewhere: with a step up, or absolute, including Windows paths.
_LEADING = r"\.\.|^[/\\]|^[A-Za-z]:[/\\]"


def refuse_leaving(ids: pd.Series, csv: Path, folder: Path, data_dir: Path) -> None:
    """Raise `DataError` if `find_leaving` finds ids, or the folder's name is not UTF-8."""
    require_utf8(folder)
    if bad := find_leaving(ids, folder, data_dir):
        raise DataError(
            f"{csv}: {list_names(bad, 'id')} would lead out of {data_dir}: an id is the name of an image in {folder}, "
            "or its path from there"
        )


def find_leaving(ids: pd.Series, folder: Path, data_dir: Path) -> list[str]:
    """Return the ids that are absolute paths, or lead out of both the data folder and the images' folder.

    Links may lead anywhere, but a step up from their target must not lead out.
    """
    return [name for name in ids[ids.str.contains(_LEADING)].tolist() if _leaves(name, folder, data_dir)]


def _leaves(name: str, folder: Path, data_dir: Path) -> bool:
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or re.fullmatch("[A-Za-z]:", parts[0]):
        return True
    if ".." not in parts:
        return False
    # Only as far as the last step up: what follows it leads downwards, possibly through a link, which is allowed.
    last_step = len(parts) - parts[::-1].index("..")
    for resolve in (os.path.abspath, os.path.realpath):  # as written, and with links followed
        place = resolve(os.path.join(folder, *parts[:last_step]))
        roots = [resolve(root) for root in (data_dir, folder)]
        if not any(place == root or place.startswith(root.rstrip(os.sep) + os.sep) for root in roots):
            return True
    return False


class FileIndex:
    """Index of the file names in a folder, which also matches other endings and Unicode forms (NFC and NFD).

    Args:
        names: names of the files.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = set(names)
        self._stems: dict[str, list[str]] | None = None
        self._composed: dict[str, list[str]] = {}

    def find(self, name: str, suffix: str) -> list[str]:
        """Return the files that an id may refer to, sorted: the exact one, or else those that differ in their ending.

        Args:
            suffix: expected after the id.
        """
        if name + suffix in self._exact:
            return [name + suffix]
        if not self._exact:
            return []
        if self._stems is None:  # built at the first miss: most tables name every file exactly
            self._stems = {}
            for file in sorted(self._exact):
                plain = compose(file)
                self._composed.setdefault(plain, []).append(file)
                self._stems.setdefault(without_ending(plain), []).append(file)
        plain, beside = compose(name), without_ending("_" + suffix)[1:]  # `_mask` of `_mask.png`
        # An id may contain the suffix already.
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
    return name if name.isascii() else unicodedata.normalize("NFC", name)  # most names are ASCII: spare the call


def without_ending(name: str) -> str:
    """Return a name without the ending of an image file; other endings stay."""
    # As `os.path.splitext`, in 0.15 us instead of 0.4: it is called millions of times for a table of 200,000 files.
    stem, dot, ending = name.rpartition(".")
    if dot + ending.lower() not in IMAGE_ENDINGS:
        return name
    return stem if stem.rpartition("/")[2].strip(".") else name  # `.jpg` is a hidden file, not an ending


def forms_of(name: str) -> dict[str, None]:
    """Return the Unicode forms in which a disk may store a name, its own first."""
    return dict.fromkeys((name, compose(name), unicodedata.normalize("NFD", name)))


def find_channels(name: str, suffix: str, channels: Sequence[str], is_there: Callable[[str], bool]) -> str:
    """Return an id with the suffix, in the Unicode form that has a file for every channel; "" if none has.

    Args:
        suffix: contains a `*` for the channel.
    """
    for form in forms_of(name):
        if all(is_there(form + suffix.replace("*", channel)) for channel in channels):
            return form + suffix
    return ""
