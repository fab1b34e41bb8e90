"""Columns that are trained together with the labels but never predicted."""

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
    """Return the column of each auxiliary label, in the order of the recipe's columns.

    Raises:
        DataError: a column is empty.
    """
    columns = table_format.auxiliary_columns
    there = {column: [frame for frame in frames if column in frame.columns] for column in columns}
    for column, having in there.items():
        if all((frame[column].str.strip() == "").all() for frame in having):
            raise DataError(f"{table_format.train_csv}: column {column} of table.auxiliary_columns is empty")
    if not TASKS[table_format.task].asks_columns:
        return {column: column for column in columns}
    return {label: column for column in columns for label in question_labels(there[column], [column])}


def read_auxiliary(
    table_format: TableFormat, csv: Path, frame: pd.DataFrame, labels: Mapping[str, str], remarks: list[str]
) -> np.ndarray | None:
    """Return the auxiliary targets of a table's rows, (N, A); None if the recipe has none.

    Args:
        labels: result of `auxiliary_labels`.

    Returns:
        float32 for numbers, with NaN for an empty cell; uint8 for questions, with all 0 for an empty cell.

    Raises:
        DataError: a cell is not a number, or holds a class that no table with labels has.
    """
    if not table_format.auxiliary_columns:
        return None
    asks = TASKS[table_format.task].asks_columns
    place = {label: number for number, label in enumerate(labels)}
    targets = np.zeros((len(frame), len(labels)), np.uint8) if asks else np.full((len(frame), len(labels)), np.nan)
    for column in table_format.auxiliary_columns:
        if column not in frame.columns:
            remarks.append(f"{csv} has no column {column}: its rows have no auxiliary target there")
            continue
        cells = frame[column].str.strip()
        known = np.flatnonzero(cells != "")
        names = cells.iloc[known]
        keys = [label_of(column, cell) for cell in names] if asks else names.tolist()
        bad = np.array([key not in place if asks else not is_finite(key) for key in keys], bool)
        if bad.any():
            rows, cell = list_names(frame[table_format.id_column].iloc[known[bad]], "row"), names[bad].iloc[0]
            raise DataError(f"{csv}: {rows} with {cell!r} in column {column}, which cannot be learned")
        if asks:
            targets[known, [place[key] for key in keys]] = 1
        else:
            targets[known, place[column]] = names.astype(float)
    return targets if asks else targets.astype(np.float32)
