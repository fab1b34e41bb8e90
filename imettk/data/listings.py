"""Training images without a table: folder names are the labels, or file names contain them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from imettk.config import TableFormat
from imettk.config.file_kinds import TABLE_ENDINGS
from imettk.data.csv_files import is_utf8, list_names, require_utf8
from imettk.data.part_names import is_part
from imettk.errors import DataError


def list_folders(table_format: TableFormat, data_dir: Path, remarks: list[str]) -> pd.DataFrame:
    """Return folders of images as a table: ids `FOLDER/FILE`, sorted, and the folder's name as label.

    Skipped with a remark: hidden files, anything that is not a file in a label's folder, empty folders, and folders
    named like a part of the data, such as `Test`.

    Raises:
        DataError: `train_images` has no folder, no folder has an image, or a name is not UTF-8.
    """
    top = data_dir / table_format.train_images
    require_utf8(top)
    if not top.is_dir():
        state = "not a folder" if top.exists() else "missing"
        raise DataError(f"{top} is {state}: with `table.train_folders` it must hold one folder of images per identity")
    ids: list[str] = []
    skipped: dict[str, list[str]] = {"odd": [], "part": [], "empty": []}
    for folder in sorted(os.scandir(top), key=lambda entry: entry.name):
        if not folder.is_dir() or folder.name.startswith("."):
            skipped["odd"] += [folder.name] if not folder.name.lower().endswith(TABLE_ENDINGS) else []
        elif is_part(folder.name):
            skipped["part"].append(folder.name)
        else:
            files = _list_files(folder.path, folder.name, skipped["odd"])
            skipped["empty"] += [] if files else [folder.name]
            ids += files
    if not ids:
        raise DataError(
            f"{top} has no folder with images: with `table.train_folders` it must hold one per identity; "
            "to read a table instead, set --table.train-folders False"
        )
    refuse_odd_names(top, ids)
    _remark_skipped(top, skipped, remarks)
    twice = sorted(name for name, count in Counter(map(_file_name, ids)).items() if count > 1)
    if twice:
        remarks.append(
            f"{top}: {list_names(twice, 'file name')} in several folders; lists must use FOLDER/FILE for them"
        )
    labels = [name.partition("/")[0] for name in ids]
    return pd.DataFrame({table_format.id_column: ids, table_format.label_column: labels}, dtype=str)


def list_files(table_format: TableFormat, data_dir: Path, remarks: list[str]) -> pd.DataFrame:
    """Return the files of `train_images` as a table: names as ids, sorted, and the labels contained in them.

    Hidden files, tables and folders are skipped with a remark.

    Raises:
        DataError: the folder is missing or has no file, a name is not UTF-8, or contains no label.
    """
    top = data_dir / table_format.train_images
    require_utf8(top)
    if not top.is_dir():
        state = "not a folder" if top.exists() else "missing"
        raise DataError(f"{top} is {state}: with `table.train_files` it must hold the training images")
    ids, odd = list[str](), list[str]()
    for entry in os.scandir(top):
        is_table = entry.name.lower().endswith(TABLE_ENDINGS)
        is_image = entry.is_file() and not entry.name.startswith(".") and not is_table
        (ids if is_image else odd).append(entry.name)
    if not ids:
        raise DataError(f"{top} holds no file: with `table.train_files` it must hold the training images")
    refuse_odd_names(top, ids)
    if odd:
        remarks.append(f"{top}: skipped {list_names(sorted(odd), 'entry', 'entries')} other than images")
    frame = pd.DataFrame({table_format.id_column: sorted(ids)}, dtype=str)
    return frame.assign(**{table_format.label_column: labels_of_ids(table_format, top, frame)})


def labels_of_ids(table_format: TableFormat, csv: Path, frame: pd.DataFrame) -> pd.Series:
    """Return the match of `label_pattern` in each id, or else the unknown label; raise `DataError` without either.

    Args:
        csv: table or folder that the ids come from.
    """
    ids = frame[table_format.id_column]
    matches = ids.str.extract(str(table_format.label_pattern), expand=True)[0]
    if table_format.unknown_label is None and matches.isna().any():
        raise DataError(f"{csv}: {list_names(ids[matches.isna()], 'id')} that `table.label_pattern` does not match")
    return matches.fillna(table_format.unknown_label)


def refuse_odd_names(top: Path, names: Iterable[str]) -> None:
    """Raise `DataError` if the name of a file below a folder is not UTF-8."""
    if bad := [name for name in names if not is_utf8(name)]:
        raise DataError(f"{top}: {list_names(bad, 'file')} with a name or folder that is not UTF-8: rename them")


def _list_files(path: str, label: str, odd: list[str]) -> list[str]:
    """Return the files of a label as `FOLDER/FILE`, sorted; append everything else to `odd`."""
    files: list[str] = []
    for entry in os.scandir(path):
        (files if entry.is_file() and not entry.name.startswith(".") else odd).append(f"{label}/{entry.name}")
    return sorted(files)


def _remark_skipped(top: Path, skipped: dict[str, list[str]], remarks: list[str]) -> None:
    """Remark skipped entries."""
    if odd := skipped["odd"]:
        remarks.append(
            f"{top}: skipped {list_names(sorted(odd), 'entry', 'entries')} other than images in a label's folder"
        )
    if part := skipped["part"]:
        remarks.append(f"{top}: skipped {list_names(part, 'folder')} named like a part of the data, not like a label")
    if empty := skipped["empty"]:
        remarks.append(f"{top}: {list_names(empty, 'folder')} without images")


def short_names(ids: pd.Series) -> pd.Series:
    """Return the file name of each `FOLDER/FILE`, which boxes and lists may use too; the id if it is not unique."""
    files = ids.map(_file_name)
    return files.where(~files.duplicated(keep=False), ids)


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]
