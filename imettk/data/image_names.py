"""The names of a table's images below their folder: the ids, or what a pattern makes of several columns."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import list_names, require_columns, require_unique
from imettk.data.table_files import read_rows

_PARTS = re.compile(r"\{([^{}]+)\}|([^{}]+)")


NAME = "\x1fname"  # the column of a frame that names its images already: no table has any called so


def has_path(table_format: TableFormat, frame: pd.DataFrame) -> bool:
    """Return whether a table has the columns of `image_path`; where it lacks one, its ids are names of images."""
    return table_format.image_path is not None and {*table_format.path_columns} <= {*frame.columns}


def name_images(table_format: TableFormat, frame: pd.DataFrame) -> pd.Series:
    """Return the name of each row's image below its folder, without the suffix; "" where its last cell is empty.

    An empty cell is no step of the way: `{chain}/{image}` is the image alone where the chain is empty.
    """
    if NAME in frame.columns:
        return frame[NAME]
    if not has_path(table_format, frame):
        return frame[table_format.id_column]
    steps = [_fill(step, frame) for step in str(table_format.image_path).split("/")]
    names = steps[0]
    for step in steps[1:]:
        names = names.where((names == "") | (step == ""), names + "/") + step
    return names.where(steps[-1] != "", "")


def _fill(step: str, frame: pd.DataFrame) -> pd.Series:
    """Return a step of a pattern with the cells of each row."""
    text = pd.Series("", frame.index, dtype=str)
    for column, plain in _PARTS.findall(step):
        text = text + (frame[column] if column else plain)
    return text


def name_test_images(
    table_format: TableFormat, data_dir: Path, csv: Path, frame: pd.DataFrame, remarks: list[str]
) -> pd.DataFrame:
    """Return rows of a test set with the names that the table of test images gives to theirs.

    The id of a row that it has not stays its name; a remark counts such rows.

    Args:
        csv: where these rows stand.

    Raises:
        DataError: the table is missing, has no ids, or has one with two images.
    """
    if table_format.test_csv is None or table_format.image_path is None:
        return frame
    test_csv, ids = data_dir / table_format.test_csv, frame[table_format.id_column]
    test = read_rows(test_csv, remarks)
    key = table_format.test_id_column if table_format.test_id_column in test.columns else table_format.id_column
    require_columns(test, test_csv, [key])
    test = test if table_format.id_column in test.columns else test.assign(**{table_format.id_column: test[key]})
    if not has_path(table_format, test):
        return frame
    rows = pd.DataFrame({"id": test[key], "name": name_images(table_format, test)}).drop_duplicates()
    require_unique(rows["id"], test_csv)
    names = ids.map(rows.set_index("id")["name"])
    if (unknown := names.isna()).any():
        remarks.append(f"{csv}: {list_names(ids[unknown], 'row')} without one in {test_csv.name}")
    return frame.assign(**{NAME: names.where(~unknown, ids)})
