"""Labels of several questions per image: one column each, whose cells hold one of its classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from imettk.config.table import CELL_SEPARATOR
from imettk.tasks.questions import class_of, label_of
from imettk.tasks.task import NUMBER


def classes_in_order(cells: Iterable[str]) -> list[str]:
    """Return the distinct non-empty cells: in numerical order if all are numbers, otherwise as text."""
    classes = sorted({cell.strip() for cell in cells} - {""})
    return sorted(classes, key=float) if all(NUMBER.fullmatch(cell) for cell in classes) else classes


def question_labels(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> dict[str, str]:
    """Return every label of these tables with its column, in the order of columns."""
    return {
        label_of(column, name): column
        for column in columns
        for name in classes_in_order(cell for frame in frames for cell in frame[column])
    }


def join_questions(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Return the labels of each row, joined; an empty cell has none."""
    parts = zip(*(frame[column].str.strip() for column in columns), strict=True)
    joined = [
        CELL_SEPARATOR.join(label_of(column, cell) for column, cell in zip(columns, row, strict=True) if cell)
        for row in parts
    ]
    return pd.Series(joined, frame.index, dtype=str)


def split_questions(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> list[list[str]]:
    """Return the class in each column, for rows with one label per column."""
    return [[class_of(column, label) for column, label in zip(columns, row, strict=True)] for row in rows]
