"""Units, several images that share one answer: the images of each unit, and their files.

A table becomes a frame with one row per image and its unit in the column `UNIT`; a table without units stays unchanged.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.config.file_kinds import TABLE_ENDINGS
from imettk.data.container_search import find_members
from imettk.data.csv_files import as_text, list_names, require_columns, require_unique
from imettk.data.image_files import forms_of, refuse_leaving, without_ending
from imettk.data.image_names import name_images
from imettk.data.image_search import find_images
from imettk.data.table_files import read_rows
from imettk.errors import DataError

# Columns that are added to frames; no real table has columns of these names.
UNIT, FILE = "\x1funit", "\x1ffile"


def list_images(
    table_format: TableFormat, csv: Path, frame: pd.DataFrame, folder: Path, units: pd.Series | None = None
) -> pd.DataFrame:
    """Return a table with one row per image and its unit; a unit without images keeps one row with its own id.

    Args:
        folder: folder of the images.

    Raises:
        DataError: an id would lead out of the folder, or an image is repeated.
    """
    if table_format.unit_columns:
        blank = (frame[list(table_format.unit_columns)].apply(lambda cells: cells.str.strip()) == "").any(axis=1)
        if blank.any():
            raise DataError(
                f"{csv}: {list_names(frame[table_format.id_column][blank], 'row')} with an empty cell in "
                f"{' or '.join(table_format.unit_columns)}: their unit is unknown"
            )
        return frame.assign(**{UNIT: join_cells(frame, table_format.unit_columns)})
    if not table_format.rows_are_units:
        return frame
    units = frame[table_format.id_column] if units is None else units
    if table_format.unit_folders:
        refuse_leaving(units, csv, folder, folder)
        images = [_list_folder(folder, unit, table_format.image_suffix) for unit in units]
    else:
        rows = frame[list(table_format.image_columns)].to_numpy(str).tolist()
        images = [[cell for cell in row if cell.strip()] for row in rows]
    counts = np.array([max(1, len(names)) for names in images], np.int64)
    ids = [name for unit, names in zip(units, images, strict=True) for name in (names or [unit])]
    places = np.repeat(np.arange(len(frame)), counts)
    frame = frame.iloc[places].reset_index(drop=True)
    made: dict[str, Any] = {UNIT: units.to_numpy(object)[places], table_format.id_column: ids}
    if table_format.unit_folders:
        made[FILE] = [name for names in images for name in (names or [""])]
    frame = frame.assign(**made)
    require_unique(frame[table_format.id_column], csv)
    return frame


def _list_folder(folder: Path, unit: str, suffix: str) -> list[str]:
    """Return the images below a unit's folder as paths from `folder`, sorted."""
    names: list[str] = []
    there = next((form for form in forms_of(unit) if (folder / form).is_dir()), unit)
    for way, inner, files in os.walk(folder / there):
        inner[:] = [name for name in inner if not name.startswith(".")]
        names += [
            os.path.relpath(os.path.join(way, name), folder).replace(os.sep, "/")
            for name in files
            if not name.startswith(".") and is_image_name(name, suffix)
        ]
    return sorted(names)


def is_image_name(name: str, suffix: str) -> bool:
    """Return whether a file may be an image, by the suffix of its name, or without one, by not being a table."""
    if not suffix:
        return not name.lower().endswith(TABLE_ENDINGS)
    beside, stem = without_ending("_" + suffix)[1:], without_ending(name)  # `_rgb` of `_rgb.png`
    return name.endswith(suffix) or (stem != name and stem.endswith(beside))


def join_cells(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """Return the cells of some columns, joined by `_`."""
    joined = frame[columns[0]]
    for column in columns[1:]:
        joined = joined + "_" + frame[column]
    return joined


def find_files(
    table_format: TableFormat,
    csv: Path,
    frame: pd.DataFrame,
    folder: Path,
    data_dir: Path,
    remarks: list[str],
    *,
    unshared: bool,
) -> np.ndarray:
    """Return the file of each row of a table as a path from the folder, str (N,); "" if there is none.

    See `find_images` for arguments and errors.
    """
    if table_format.unit_folders:
        return as_text(frame[FILE])
    names = name_images(table_format, frame)
    if (members := find_members(names, csv, folder, table_format, remarks, unshared=unshared)) is not None:
        return members
    files, has_name = np.full(len(names), "", object), (names != "").to_numpy()
    files[has_name] = find_images(names[has_name], csv, folder, data_dir, table_format, remarks, unshared=unshared)
    return as_text(files)


def read_test_images(
    table_format: TableFormat, data_dir: Path, sample_csv: Path, units: pd.Series, remarks: list[str]
) -> pd.DataFrame:
    """Return the images of the test set, one row each, in the order of these units; a unit without images keeps a row.

    Raises:
        DataError: the table of test images is missing, or lacks a column.
    """
    folder, id_column = data_dir / table_format.test_images, table_format.id_column
    if table_format.unit_folders:
        return list_images(table_format, sample_csv, pd.DataFrame({id_column: units}, dtype=str), folder)
    if table_format.test_csv is None:
        raise DataError(f"{sample_csv} names units, but not their images: set their table with --table.test-csv")
    csv = data_dir / table_format.test_csv
    frame, unit_column = read_rows(csv, remarks), table_format.test_id_column
    # A column with the name of the image column holds images, even if the sample uses that name for units.
    by_name = unit_column in frame.columns and (table_format.rows_are_units or unit_column != id_column)
    require_columns(frame, csv, [id_column, *table_format.image_columns])
    if table_format.rows_are_units:
        units_there = frame[unit_column if by_name else id_column]
        require_unique(units_there, csv)
        frame = list_images(table_format, csv, frame, folder, units_there)
    else:
        require_unique(frame[id_column], csv)
        require_columns(frame, csv, () if by_name else table_format.unit_columns)
        frame = frame.assign(**{UNIT: frame[unit_column]}) if by_name else list_images(table_format, csv, frame, folder)
    asked = frame[UNIT].isin(units)
    if not asked.all():
        remarks.append(
            f"{csv}: {list_names(frame[UNIT][~asked].unique(), 'unit')} that {sample_csv.name} does not ask for"
        )
    lacking = units[~units.isin(frame[UNIT])]
    rows = pd.DataFrame({id_column: lacking, UNIT: lacking}, dtype=str)
    frame = pd.concat([frame[asked], rows], ignore_index=True).fillna("")
    place = {unit: number for number, unit in enumerate(units)}
    return frame.iloc[np.argsort(frame[UNIT].map(place).to_numpy(np.int64), kind="stable")].reset_index(drop=True)


def units_of(frame: pd.DataFrame) -> np.ndarray | None:
    """Return the unit of each row, str (N,); None if each row is its own unit."""
    return as_text(frame[UNIT]) if UNIT in frame.columns else None


def groups_of(table_format: TableFormat, csv: Path, frame: pd.DataFrame, remarks: list[str]) -> np.ndarray | None:
    """Return the group of each row, str (N,), None without groups; a row or unit without one is a group of its own.

    Raises:
        DataError: images of one unit belong to several groups.
    """
    has_units = UNIT in frame.columns
    ids = frame[UNIT if has_units else table_format.id_column]
    if table_format.group_column:
        groups = frame[table_format.group_column]
        if (lacking := groups.str.strip() == "").any():
            note = f"without a {table_format.group_column}: each is a group of its own"
            remarks.append(f"{csv}: {list_names(ids[lacking].unique(), 'row')} {note}")
        groups = groups.mask(lacking, "row " + ids)  # the prefix keeps them apart from real groups of the same name
        if has_units and (mixed := _mixed(ids, groups.to_numpy(object))):
            raise DataError(
                f"{csv}: {list_names(mixed, 'unit')} with images of different groups: no fold could hold them whole"
            )
        return as_text(groups)
    if table_format.group_pattern is not None:
        return as_text(ids.str.extract(table_format.group_pattern, expand=True)[0].fillna(ids))
    return units_of(frame)


def refuse_disagreement(csv: Path, frame: pd.DataFrame, targets: np.ndarray) -> None:
    """Raise `DataError` if images of one unit have different labels, first axis N of `targets`."""
    if UNIT in frame.columns and (mixed := _mixed(frame[UNIT], targets)):
        raise DataError(
            f"{csv}: {list_names(mixed, 'unit')} with images of different labels, but a unit gets one answer; add the "
            "column that distinguishes these images to `table.unit_columns`"
        )


def _mixed(units: pd.Series, values: np.ndarray) -> list[str]:
    """Return the units whose rows differ in these values, first axis N."""
    names, first, member = np.unique(units.to_numpy(str), return_index=True, return_inverse=True)
    differs = (values != values[first[member]]).reshape(len(values), -1).any(1)
    return names[np.unique(member[differs])].tolist()


def describe_units(units: np.ndarray) -> str:
    """Describe the number of units and of their images: `12 units of 3 images`."""
    counts = np.unique(units, return_counts=True)[1]
    if not len(counts):
        return "0 units"
    low, high = counts.min(), counts.max()
    images = f"{low} image{'s' if low > 1 else ''}" if low == high else f"{low} to {high} images"
    middle = "" if low == high else f", {np.median(counts):g} typically"
    return f"{len(counts)} units of {images}{middle}"
