"""Search for each row's image in a container, and for the columns of a table that holds its own images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.containers import container_frame, find_files, list_members, opened
from imettk.data.csv_files import as_text, list_names, printable
from imettk.data.image_files import FileIndex, find_channels
from imettk.data.table_files import read_rows
from imettk.errors import DataError


def find_members(
    names: pd.Series, csv: Path, folder: Path, table_format: TableFormat, remarks: list[str], *, unshared: bool
) -> np.ndarray | None:
    """Return the member of each name, str (N,), "" for a name without one; None if `folder` is not a container.

    Members that no row names become a remark unless other tables use the container too.

    Raises:
        DataError: the container cannot be read, or a name matches several members.
    """
    suffix, channels = table_format.image_suffix, table_format.channel_files
    wanted = {name + suffix.replace("*", channel) for name in names for channel in channels or ("",)}
    if (members := list_members(folder, table_format.pixel_shape, wanted)) is None:
        return None
    if channels:
        known = set(members)
        matches = [
            [file] if (file := find_channels(name, suffix, channels, known.__contains__)) else [] for name in names
        ]
    else:
        index = FileIndex(members)
        matches = [index.find(name, suffix) if name else [] for name in names]
    counts = Counter(file for files in matches for file in files)
    doubtful = [
        f"{name}: {' or '.join(files)}"
        for name, files in zip(names, matches, strict=True)
        if len(files) > 1 or any(counts[file] > 1 for file in files)
    ]
    if doubtful:
        raise DataError(f"{csv}: {list_names(doubtful, 'id')} that may mean several images in {folder}, or share one")
    files = np.array([files[0] if files else "" for files in matches], object)
    used = {file.replace("*", channel) for file in files for channel in channels or ("",)}
    if unshared and (spare := [name for name in members if name not in used]):
        remarks.append(f"{folder}: {list_names(spare, 'image')} without a row in the table")
    return as_text(files)


def describe_expected_member(names: pd.Series, folder: Path, table_format: TableFormat) -> str | None:
    """Return the name that the first row's image would have in a container, and the names there; None if it is none."""
    if (members := list_members(folder, table_format.pixel_shape)) is None:
        return None
    wanted = printable(str(names.iloc[0]) + table_format.image_suffix)
    return f"that of {printable(str(names.iloc[0]))} would be {wanted}; it holds {list_names(members, 'image')}"


def member_paths(folder: Path, names: Collection[str]) -> list[str]:
    """Return the path of each image: in a folder, in a container, or in whichever of several containers holds it."""
    files = [] if folder.is_file() or "*" not in folder.name else find_files(folder)
    parts, wanted = dict[str, Path](), set(names)
    for file in files:
        with opened(str(file)) as container:
            parts |= dict.fromkeys(container.names(wanted), file)
    return [f"{parts.get(name, folder)}{os.sep}{name}" for name in names]


def read_training(csv: Path, remarks: list[str] | None = None, *, holds_images: bool) -> pd.DataFrame:
    """Return a training table as text, without pixel columns if it holds its own images.

    Args:
        holds_images: the recipe names this file as the place of its images too.

    Raises:
        DataError: it cannot be read.
    """
    beside = container_frame(csv) if holds_images else None
    return read_rows(csv, remarks) if beside is None else beside
