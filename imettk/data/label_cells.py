"""Label cells in the forms of tables: joined by a separator, as a list, or as a column of 0 and 1 per label."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.config.table import CELL_SEPARATOR
from imettk.data.csv_files import list_names
from imettk.data.long_rows import training_rows
from imettk.data.question_cells import join_questions, split_questions
from imettk.errors import DataError
from imettk.tasks import TASKS

LIST = re.compile(r"\s*(\[.*\]|\(.*\)|\{.*\})\s*", re.DOTALL)
# Two strings without a comma between them, as NumPy prints arrays: Python would concatenate them.
_JOINED = re.compile(r"""(['"])\s+\1""")
YES, NO = re.compile(r"1(\.0*)?|true", re.IGNORECASE), re.compile(r"0(\.0*)?|false", re.IGNORECASE)


def read_cells(frame: pd.DataFrame, table_format: TableFormat, csv: Path) -> pd.DataFrame:
    """Return the table with all labels of a row in `label_column`, joined by `cell_separator`.

    Raises:
        DataError: a cell is neither 0 nor 1, or not a list; or a row that must have one label has several.
    """
    if TASKS[table_format.task].numbered:
        return _with_joined(frame, table_format)
    if TASKS[table_format.task].asks_columns:
        _refuse_unanswered(frame, table_format, csv)
        return frame.assign(**{table_format.label_column: join_questions(frame, table_format.label_columns)})
    if table_format.label_columns:
        return frame.assign(**{table_format.label_column: _join_columns(frame, table_format, csv)})
    if table_format.label_lists:
        cells = frame[table_format.label_column]
        lists = [parse_list(cell) for cell in cells]
        if bad := [cell for cell, items in zip(cells, lists, strict=True) if items is None]:
            raise DataError(
                f"{csv}: {list_names(bad, 'cell')} of column {table_format.label_column} in place of lists such as "
                "['a', 'b']: set --table.label-lists False for cells joined by `table.label_separator`"
            )
        joined = [table_format.cell_separator.join(items or ()) for items in lists]
        return frame.assign(**{table_format.label_column: pd.Series(joined, frame.index, dtype=str)})
    return frame


def _with_joined(frame: pd.DataFrame, table_format: TableFormat) -> pd.DataFrame:
    """Join the numbers of each row in `label_column`, if they have several columns."""
    if not table_format.label_columns:
        return frame
    rows = frame[list(table_format.label_columns)].to_numpy(str)
    joined = [table_format.cell_separator.join(row) for row in rows.tolist()]
    return frame.assign(**{table_format.label_column: pd.Series(joined, frame.index, dtype=str)})


def _refuse_unanswered(frame: pd.DataFrame, table_format: TableFormat, csv: Path) -> None:
    for column in table_format.label_columns:
        if (empty := (frame[column].str.strip() == "").to_numpy(bool)).any():
            raise DataError(
                f"{csv}: {list_names(frame[table_format.id_column][empty], 'row')} without a class in {column}"
            )


def is_flag(cells: pd.Series) -> np.ndarray:
    """Return which cells are 0 or 1, in forms such as 0.0, 1.0, true or false, bool (N,)."""
    return (cells.str.fullmatch(YES) | cells.str.fullmatch(NO)).to_numpy(bool)


def _join_columns(frame: pd.DataFrame, table_format: TableFormat, csv: Path) -> pd.Series:
    """Return the names of the columns that are 1 in each row, joined."""
    ids, columns = frame[table_format.id_column], table_format.label_columns
    for column in columns:
        if not (fits := is_flag(frame[column].str.strip())).all():
            bad = frame[column][~fits].unique()
            raise DataError(
                f"{csv}: {list_names(ids[~fits], 'row')} with neither 0 nor 1 in column {column}, but "
                f"{' or '.join(map(repr, bad[:3]))}: `table.label_columns` must be columns of 0 and 1"
            )
    held = np.stack([frame[column].str.strip().str.fullmatch(YES).to_numpy(bool) for column in columns], axis=1)
    if TASKS[table_format.task].exclusive and (several := held.sum(1) > 1).any():
        raise DataError(
            f"{csv}: {list_names(ids[several], 'row')} with 1 in several of the columns {', '.join(columns[:3])}, ...: "
            "if rows may have several labels, set `table.task` to multilabel"
        )
    separator = table_format.cell_separator
    cells = [separator.join(np.array(columns, object)[row]) for row in held]
    return pd.Series(cells, frame.index, dtype=str)


def parse_list(cell: str) -> list[str] | None:
    """Return the items of a list as text; [] for an empty cell, None if it is not a list."""
    if not cell.strip():
        return []
    if not LIST.fullmatch(cell) or _JOINED.search(cell):
        return None
    try:  # literals only: `eval` would run what a downloaded table contains
        items = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(items, (str, int, float)):  # ('a') is not a tuple
        items = [items]
    if isinstance(items, dict) or not all(isinstance(item, (str, int, float)) for item in items):
        return None
    # The order of a set differs from process to process.
    return sorted(map(str, items)) if isinstance(items, set) else [str(item) for item in items]


def are_lists(cells: Iterable[str]) -> bool | None:
    """Return whether all cells, except empty ones, are lists; None if all are empty."""
    full = [cell for cell in cells if cell.strip()]
    return all(LIST.fullmatch(cell) and parse_list(cell) is not None for cell in full) if full else None


def write_list(labels: Iterable[str]) -> str:
    """Return labels as a list literal: numbers bare, others in quotes."""
    return "[" + ", ".join(label if re.fullmatch(r"-?\d+", label) else repr(label) for label in labels) + "]"


def as_flags(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> list[list[str]]:
    """Return 1 for each column that is a label of the row, 0 for the others.

    Raises:
        DataError: a label has no column.
    """
    if strange := sorted({label for row in rows for label in row} - set(columns)):
        raise DataError(f"{list_names(strange, 'label')} without a column among {', '.join(columns[:5])}, ...")
    return [["1" if column in row else "0" for column in columns] for row in rows]


def as_table(ids: Sequence[str], rows: Sequence[Sequence[str]], table_format: TableFormat) -> pd.DataFrame:
    """Return rows with these labels as a table in the form of the training table."""
    frame, names = pd.DataFrame({table_format.id_column: ids}, dtype=str), list(table_format.number_columns)
    if TASKS[table_format.task].asks_columns:
        rows = split_questions(rows, names)
    elif not TASKS[table_format.task].numbered:
        if not table_format.label_columns:
            join = write_list if table_format.label_lists else table_format.label_separator.join
            return frame.assign(**{table_format.label_column: list(map(join, rows))})
        rows = as_flags(rows, names)
    frame, long = pd.concat([frame, pd.DataFrame(rows, columns=names)], axis=1), training_rows(table_format)
    return frame if long is None else long.lengthen(frame)


def write_cells(frame: pd.DataFrame, table_format: TableFormat) -> pd.DataFrame:
    """Undo `read_cells`."""
    if table_format.label_columns:
        return frame.drop(columns=table_format.label_column)
    if table_format.label_lists:
        rows = [TASKS[table_format.task].split(cell, CELL_SEPARATOR) for cell in frame[table_format.label_column]]
        return frame.assign(**{table_format.label_column: [write_list(row) for row in rows]})
    return frame


def cell_texts(rows: Iterable[Sequence[str]], table_format: TableFormat) -> list[str]:
    """Return the labels of each row as one text that `labels.split` splits again."""
    return [table_format.cell_separator.join(row) for row in rows]
