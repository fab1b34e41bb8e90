"""Columns that are trained beside the labels and never answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import list_names
from imettk.data.question_cells import label_of, question_labels
from imettk.errors import DataError
from imettk.tasks import TASKS
from imettk.tasks.task import is_finite


def auxiliary_labels(table_format: TableFormat, frames: Sequence[pd.DataFrame]) -> dict[str, str]:
    """Return the labels of auxiliary columns in these tables, in the order of columns, each with its column.

    Raises:
        DataError: a column holds nothing.
    """
    columns = table_format.auxiliary_columns
    there = {column: [frame for frame in frames if column in frame.columns] for column in columns}
    for column, having in there.items():
        if all((frame[column].str.strip() == "").all() for frame in having):
            raise DataError(f"{table_format.train_csv}: nothing stands in column {column} of table.auxiliary_columns")
    if not TASKS[table_format.task].asks_columns:
        return {column: column for column in columns}
    return {label: column for column in columns for label in question_labels(there[column], [column])}


def read_auxiliary(
    table_format: TableFormat, csv: Path, frame: pd.DataFrame, labels: Mapping[str, str], remarks: list[str]
) -> np.ndarray | None:
    """Return what the rows of a table say of auxiliary labels, (N, A); None where a recipe names no column.

    Args:
        labels: as of `auxiliary_labels`.

    Returns:
        Of numbers float32, NaN where a cell is empty; of questions uint8, without a 1 there.

    Raises:
        DataError: a cell is no number; or a class that stands in no table with labels.
    """
    if not table_format.auxiliary_columns:
        return None
    asks = TASKS[table_format.task].asks_columns
    place = {label: number for number, label in enumerate(labels)}
    found = np.zeros((len(frame), len(labels)), np.uint8) if asks else np.full((len(frame), len(labels)), np.nan)
    for column in table_format.auxiliary_columns:
        if column not in frame.columns:
            remarks.append(f"{csv} has no column {column}: its rows teach nothing of it")
            continue
        cells = frame[column].str.strip()
        known = np.flatnonzero(cells != "")
        names = cells.iloc[known]
        keys = [label_of(column, cell) for cell in names] if asks else names.tolist()
        bad = np.array([key not in place if asks else not is_finite(key) for key in keys], bool)
        if bad.any():
            rows, what = list_names(frame[table_format.id_column].iloc[known[bad]], "row"), names[bad].iloc[0]
            raise DataError(f"{csv}: {rows} whose cell in column {column} is {what!r}, which cannot be learned")
        if asks:
            found[known, [place[key] for key in keys]] = 1
        else:
            found[known, place[column]] = names.astype(float)
    return found if asks else found.astype(np.float32)
