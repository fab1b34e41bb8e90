"""Names of a table's images below their folder: the ids, or a pattern of several columns."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import list_names, require_columns, require_unique
from imettk.data.table_files import read_rows

_PARTS = re.compile(r"\{([^{}]+)\}|([^{}]+)")


NAME = "\x1fname"  # column of a frame that already names its images; no real table has a column of this name


def has_path(table_format: TableFormat, frame: pd.DataFrame) -> bool:
    """Return whether a table has the columns of `image_path`; without them its ids name the images."""
    return table_format.image_path is not None and {*table_format.path_columns} <= {*frame.columns}


def name_images(table_format: TableFormat, frame: pd.DataFrame) -> pd.Series:
    """Return the name of each row's image below its folder, without the suffix; "" if its last cell is empty.

    An empty cell adds no step to the path: `{chain}/{image}` is just the image if the chain is empty.
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
    """Fill in one step of the pattern with the cells of each row."""
    text = pd.Series("", frame.index, dtype=str)
    for column, plain in _PARTS.findall(step):
        text = text + (frame[column] if column else plain)
    return text


def name_test_images(
    table_format: TableFormat, data_dir: Path, csv: Path, frame: pd.DataFrame, remarks: list[str]
) -> pd.DataFrame:
    """Return rows of a test set with the names of their images from the table of test images.

    A row that this table lacks keeps its id as name; a remark counts such rows.

    Args:
        csv: file that these rows come from.

    Raises:
        DataError: the table is missing, has no ids, or gives an id two images.
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
        remarks.append(f"{csv}: {list_names(ids[unknown], 'row')} missing in {test_csv.name}")
    return frame.assign(**{NAME: names.where(~unknown, ids)})
