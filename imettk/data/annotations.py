"""What stands beside a table about its images: boxes, images to turn, images to leave out."""

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
    """Boxes as left, top, right, bottom (float32), indexed by id or file name; None where the recipe has none.

    A row whose four cells are empty is that of an image without a box. Boxes are pixels, or shares of the image's size
    where the format is `centre`.

    Raises:
        DataError: the file or a column is missing, an image stands twice, or a value is no number or makes no box.
    """
    if table_format.boxes_csv is None:
        return None
    csv = data_dir / table_format.boxes_csv
    if not csv.is_file():
        raise DataError(f"{csv} is missing: make it, or look at whole images with --table.boxes-csv None")
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
    bad = ~((corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1]))  # true for NaN as well
    if bad.any():
        raise DataError(f"{csv}: {list_names(ids[bad], 'row')} whose values make no box of `table.box_format` "
                        f"{table_format.box_format}")  # fmt: skip
    if table_format.box_format == "centre" and np.abs(values).max() > 2:
        raise DataError(f"{csv}: boxes of format `centre` are shares of the image, got {np.abs(values).max():g}")
    return pd.DataFrame(corners.astype(np.float32), index=pd.Index(ids))


def boxes_of(boxes: pd.DataFrame | None, ids: pd.Series, suffix: str) -> np.ndarray | None:
    """The box of each id, float32 (N, 4), NaN where it has none; None where there are no boxes at all."""
    if boxes is None:
        return None
    by_id = boxes.reindex(ids).to_numpy(np.float32)
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
    """The box of each row of a table, float32 (N, 4), None where the recipe has none; remarks which rows have none.

    Args:
        csv: the table.
        names: other names of the rows, which count where there is no box for their id.
        needed: one row at least has to have a box, else `DataError`.
    """
    boxes = read_boxes(table_format, data_dir, remarks if needed else None)
    by_id, by_name = (boxes_of(boxes, some, table_format.image_suffix) for some in (ids, names))
    if by_id is None or by_name is None:
        return None
    found = np.where(np.isnan(by_id), by_name, by_id)
    lacking = np.isnan(found[:, 0])
    if needed and lacking.all():
        raise DataError(
            f"{data_dir / str(table_format.boxes_csv)}: none of its names is that of a row of {csv}, such as "
            f"{ids.iloc[0]}; name their column with --table.box-id-column"
        )
    if lacking.any():
        what = list_names(ids[lacking], "row")
        remarks.append(f"{csv}: {what} without a box in {table_format.boxes_csv}; the whole image is looked at")
    return found


def tell_turned(csv: Path, turned_csv: str | None, turned: np.ndarray, remarks: list[str]) -> None:
    """Remark how many images of `csv` are turned, bool (N,), where there is a list of them."""
    if turned_csv is not None:
        remarks.append(f"{csv}: {int(turned.sum())} of {len(turned)} images are turned, by {turned_csv}")


def read_names(csv: str | None, data_dir: Path) -> set[str]:
    """The names in a list, one a line, in its first column; a first line such as `Image` or `id` is one that no image
    has."""
    if csv is None:
        return set()
    path = data_dir / csv
    if not path.is_file():
        raise DataError(
            f"{path} is missing: it may be empty; without such a list go --table.turned-csv None and "
            "--table.left-out-csv None"
        )
    if is_text_table(path):
        names = first_cells(path)
    else:
        frame = read_rows(path)
        names = frame[frame.columns[0]].tolist()
    return {name.strip() for name in names if name.strip()}


def is_named(names: set[str], ids: pd.Series, suffix: str) -> np.ndarray:
    """Which ids are in a list, by themselves or as file names, bool (N,)."""
    return (ids.isin(names) | (ids + suffix).isin(names)).to_numpy()
