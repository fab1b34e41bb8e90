"""Which image files a table's ids name, and that no id leads elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import is_utf8, named, printable, require_utf8
from imettk.errors import DataError

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


def find_images(
    ids: pd.Series, folder: Path, table_format: TableFormat, remarks: list[str], *, alone: bool
) -> np.ndarray:
    """Which ids have an image, bool (N,); images that no row names become a remark where the folder is theirs alone."""
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: the recipe's `table` names it as a folder of images")
    top = {entry.name for entry in os.scandir(folder)}  # one listing, not one stat a row
    found, wanted = np.ones(len(ids), bool), set()
    for channel in table_format.channel_files or ("",):
        names = (ids + table_format.image_suffix.replace("*", channel)).tolist()
        # An id may hold a folder (`ab/ab12`): those few are asked one by one.
        found &= np.array([(folder / name).is_file() if "/" in name else name in top for name in names], bool)
        wanted.update(names)
    ending = table_format.image_suffix.rpartition("*")[2]
    spare = sorted(name for name in top - wanted if name.endswith(ending))
    if spare and alone:
        remarks.append(f"{folder}: {named(spare, 'image')} without a row in the table")
    return found


def say_where(ids: pd.Series, folder: Path, table_format: TableFormat) -> str:
    """What the image of the first of these rows would be called, and what is there where another suffix would do."""
    suffix, name = table_format.image_suffix, str(ids.iloc[0])
    text = f"that of {printable(name)} would be {printable(name + suffix)}"
    if table_format.channel_files or table_format.train_folders:
        return text
    known = set(ids.iloc[:MOST_LOOKED_AT])
    for file in sorted(entry.name for entry in os.scandir(folder)):
        stems = [file, *(file[:at] for at in range(len(file) - 1, 0, -1) if file[at] in ENDING_SIGNS)]
        if (stem := next((stem for stem in stems if stem in known), None)) is not None and is_utf8(file):
            ending = file[len(stem) :]
            return f"{text}; there is {file}, so try --table.image-suffix {ending or repr(ending)}"
    return text
