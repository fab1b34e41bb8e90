"""Annotations of a table's images: boxes, images to turn, images to leave out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import list_names, require_columns, require_unique
from imettk.data.table_files import read_rows
from imettk.data.text_tables import first_cells, is_text_table
from imettk.errors import DataError


def read_boxes(table_format: TableFormat, data_dir: Path, remarks: list[str] | None = None) -> pd.DataFrame | None:
    """Return boxes as left, top, right, bottom (float32), indexed by id or file name; None if the recipe has no boxes.

    A row whose four cells are empty has no box. Boxes are in pixels, or in fractions of the image size with the format
    `centre`.

    Raises:
        DataError: the file or a column is missing, an id is repeated, or the four values are not a valid box.
    """
    if table_format.boxes_csv is None:
        return None
    csv = data_dir / table_format.boxes_csv
    if not csv.is_file():
        raise DataError(f"{csv} is missing: create it, or use whole images with --table.boxes-csv None")
    frame, columns = read_rows(csv, remarks), list(table_format.box_columns)
    require_columns(frame, csv, [table_format.box_id_column, *columns])
    frame = frame[(frame[columns] != "").any(axis=1)]
    ids = frame[table_format.box_id_column]
    require_unique(ids, csv)
    values = frame[columns].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    corners = values
    if table_format.box_format == "centre":
        centre, half = values[:, :2], values[:, 2:] / 2
        corners = np.concatenate([centre - half, centre + half], axis=1)
    bad = ~((corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1]))  # `~(>)` instead of `<=` catches NaN too
    if bad.any():
        raise DataError(
            f"{csv}: {list_names(ids[bad], 'row')} without a valid box of `table.box_format` {table_format.box_format}"
        )
    if table_format.box_format == "centre" and np.abs(values).max() > 2:
        raise DataError(
            f"{csv}: boxes of format `centre` must be fractions of the image size, got {np.abs(values).max():g}"
        )
    return pd.DataFrame(corners.astype(np.float32), index=pd.Index(ids))


def boxes_of(boxes: pd.DataFrame | None, ids: pd.Series, suffix: str) -> np.ndarray | None:
    """Return the box of each id, float32 (N, 4), NaN for an id without one; None without `boxes`."""
    if boxes is None:
        return None
    by_id = boxes.reindex(ids).to_numpy(np.float32)  # lists of boxes name images with or without their ending
    by_file = boxes.reindex(ids + suffix).to_numpy(np.float32)
    return np.where(np.isnan(by_id), by_file, by_id)


def find_boxes(
    table_format: TableFormat,
    data_dir: Path,
    csv: Path,
    ids: pd.Series,
    names: pd.Series,
    remarks: list[str],
    *,
    needed: bool,
) -> np.ndarray | None:
    """Return the box of each row, float32 (N, 4), and remark rows without one; None if the recipe has no boxes.

    Args:
        csv: the table.
        names: alternative names of the rows, used if there is no box for their id.
        needed: raise `DataError` unless at least one row has a box.
    """
    boxes = read_boxes(table_format, data_dir, remarks if needed else None)
    by_id, by_name = (boxes_of(boxes, keys, table_format.image_suffix) for keys in (ids, names))
    if by_id is None or by_name is None:
        return None
    rows = np.where(np.isnan(by_id), by_name, by_id)
    lacking = np.isnan(rows[:, 0])
    if needed and lacking.all():
        raise DataError(
            f"{data_dir / str(table_format.boxes_csv)}: none of its names matches a row of {csv}, such as "
            f"{ids.iloc[0]}; set their column with --table.box-id-column"
        )
    if lacking.any():
        without = list_names(ids[lacking], "row")
        remarks.append(f"{csv}: {without} without a box in {table_format.boxes_csv}; the whole image is used")
    return rows


def remark_turned(csv: Path, turned_csv: str | None, turned: np.ndarray, remarks: list[str]) -> None:
    """Remark how many images of `csv` are turned, bool (N,), if the recipe lists such images."""
    if turned_csv is not None:
        remarks.append(f"{csv}: {int(turned.sum())} of {len(turned)} images are turned, as listed in {turned_csv}")


def read_names(csv: str | None, data_dir: Path) -> set[str]:
    """Return the names in the first column of a list, one per line.

    A header is not needed; one such as `Image` or `id` does no harm, as no image has that name.
    """
    if csv is None:
        return set()
    path = data_dir / csv
    if not path.is_file():
        raise DataError(
            f"{path} is missing: create it (it may be empty), or set --table.turned-csv None or "
            "--table.left-out-csv None"
        )
    if is_text_table(path):
        names = first_cells(path)
    else:
        frame = read_rows(path)
        names = frame[frame.columns[0]].tolist()
    return {name.strip() for name in names if name.strip()}


def is_named(names: set[str], ids: pd.Series, suffix: str) -> np.ndarray:
    """Return which ids are in a list, with or without the suffix, bool (N,)."""
    return (ids.isin(names) | (ids + suffix).isin(names)).to_numpy()
