"""What tables of identities have beside labels: folders as labels, and identities that turned out to be one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import TABLE_ENDINGS, is_utf8, named, read_csv, refuse_doubles, require_utf8
from imettk.data.part_names import is_part
from imettk.errors import DataError


def list_folders(table_format: TableFormat, data_dir: Path, remarks: list[str]) -> pd.DataFrame:
    """Folders of images as a table: ids `FOLDER/FILE`, sorted, and the folder's name as label.

    Hidden files and whatever is no file in a folder of its own are remarked and left out, as are empty folders, and
    folders that are named like a part of the data, such as `Test`.

    Raises:
        DataError: there is no folder in `train_images`, or no image in any, or a name that is no UTF-8.
    """
    top = data_dir / table_format.train_images
    require_utf8(top)
    if not top.is_dir():
        raise DataError(f"{top} is missing: with `table.train_folders` it holds a folder of images for each identity")
    ids: list[str] = []
    passed: dict[str, list[str]] = {"odd": [], "part": [], "empty": []}
    for folder in sorted(os.scandir(top), key=lambda entry: entry.name):
        if not folder.is_dir() or folder.name.startswith("."):
            passed["odd"] += [folder.name] if not folder.name.endswith(TABLE_ENDINGS) else []
        elif is_part(folder.name):
            passed["part"].append(folder.name)
        else:
            files = _list_files(folder.path, folder.name, passed["odd"])
            passed["empty"] += [] if files else [folder.name]
            ids += files
    if not ids:
        raise DataError(
            f"{top} has no folder with images: with `table.train_folders` each identity has a folder there; "
            "a table of rows is read with --table.train-folders False"
        )
    if bad := [name for name in ids if not is_utf8(name)]:
        raise DataError(f"{top}: {named(bad, 'file')} whose name, or that of the folder, is no UTF-8: rename them")
    _tell_passed(top, passed, remarks)
    twice = sorted(name for name, count in Counter(map(_file_name, ids)).items() if count > 1)
    if twice:
        remarks.append(f"{top}: {named(twice, 'file name')} in several folders; lists must name them as FOLDER/FILE")
    labels = [name.partition("/")[0] for name in ids]
    return pd.DataFrame({table_format.id_column: ids, table_format.label_column: labels}, dtype=str)


def _list_files(path: str, label: str, odd: list[str]) -> list[str]:
    """The files of a label as `FOLDER/FILE`, sorted; whatever is none is added to `odd`."""
    files: list[str] = []
    for entry in os.scandir(path):
        (files if entry.is_file() and not entry.name.startswith(".") else odd).append(f"{label}/{entry.name}")
    return sorted(files)


def _tell_passed(top: Path, passed: dict[str, list[str]], remarks: list[str]) -> None:
    """Remark what was passed over."""
    if odd := passed["odd"]:
        remarks.append(f"{top}: passed over {named(sorted(odd), 'thing')} that are no image in the folder of a label")
    if part := passed["part"]:
        remarks.append(f"{top}: passed over {named(part, 'folder')} named like a part of the data, not like a label")
    if empty := passed["empty"]:
        remarks.append(f"{top}: {named(empty, 'folder')} without an image")


def short_names(ids: pd.Series) -> pd.Series:
    """The file's name of each `FOLDER/FILE`, which boxes and lists may use as well; where it is not unique, the id."""
    files = ids.map(_file_name)
    return files.where(~files.duplicated(keep=False), ids)


def read_merged(table_format: TableFormat, data_dir: Path) -> list[list[str]]:
    """The lines of `merged_csv`, each the names of one identity; none where the format has no such file.

    Raises:
        DataError: a name stands twice (two lines that share one have to be joined by hand: which of them is wrong
            cannot be told), or it is the unknown label.
    """
    if table_format.merged_csv is None:
        return []
    csv = data_dir / table_format.merged_csv
    frame = read_csv(csv)
    lines = [cell.split() for cell in frame[frame.columns[-1]]]
    names = pd.Series([name for line in lines for name in line], dtype=str)
    refuse_doubles(names, csv)
    if (names == table_format.unknown_label).any():
        raise DataError(f"{csv}: the unknown label {table_format.unknown_label} is many identities, not one")
    return lines


def merge_labels(
    table_format: TableFormat, data_dir: Path, frames: Sequence[pd.DataFrame], remarks: list[str]
) -> dict[str, str]:
    """Which labels are another one: of each line of `merged_csv` all but the one with the most rows, or the first of
    those. Says in a remark how many rows that changes, and which names have no row."""
    lines = read_merged(table_format, data_dir)
    if not lines:
        return {}
    column = table_format.label_column
    counts = Counter(cell.strip() for frame in frames for cell in frame[column])
    merged: dict[str, str] = {}
    for line in lines:
        kept = max(line, key=lambda name: counts[name])  # the first of the largest
        merged |= {name: kept for name in line if name != kept}
    csv = data_dir / str(table_format.merged_csv)
    lost = [name for line in lines for name in line if not counts[name]]
    changed = [name for name in merged if counts[name]]
    rows = sum(counts[name] for name in changed)
    remarks.append(f"{csv}: {named(changed, 'label')} merged into another, with {rows} rows in all")
    if lost:
        remarks.append(f"{csv}: {named(lost, 'name')} not in the training table")
    return merged


def merged_into(labels: Sequence[str], lines: Sequence[Sequence[str]]) -> dict[str, str]:
    """`merge_labels` again, from the labels that are left: of each line, the names that are not the one that is."""
    known = set(labels)
    merged: dict[str, str] = {}
    for line in lines:
        kept = [name for name in line if name in known]
        merged |= {name: kept[0] for name in line if kept and name not in known}
    return merged


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]
