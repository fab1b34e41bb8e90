"""Several columns of a training table that each hold classes of their own: recognising and reading them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import LISTED
from imettk.data.label_cells import is_flag, read_cells
from imettk.data.part_names import is_held_out
from imettk.metrics import find_metric
from imettk.starter.guess_columns import Choices, label_candidates, may_be_numbers, number_columns
from imettk.starter.guess_labels import labels_of
from imettk.starter.guess_sample import Sample
from imettk.starter.guess_votes import OR_REGRESSION
from imettk.starter.look import Contents
from imettk.starter.questions import QUESTIONS
from imettk.tasks import TASKS
from imettk.tasks.task import NUMBER

ROWS_A_CLASS = 4  # rows per distinct cell, on average, from which on cells are classes, not numbers


def asks_columns(choices: Choices) -> bool:
    """Return whether the user asked for a question in each of several columns."""
    return choices.question is not None and TASKS[QUESTIONS[choices.question].task].asks_columns


def question_columns(frame: pd.DataFrame, id_column: str) -> tuple[str, ...]:
    """Return the columns beside the ids that may be questions."""
    return tuple(column for column in label_candidates(frame, id_column) if _has_few_classes(frame[column]))


def why_questions(frame: pd.DataFrame, columns: Sequence[str], sample: Sample | None, choices: Choices) -> str | None:
    """Return the reason why each of these columns is a question with classes of its own; None if they are not."""
    if choices.question is not None:
        return "as requested" if asks_columns(choices) else None
    metric = None if choices.metric is None else find_metric(choices.metric)
    if metric is not None and TASKS["questions"].targets not in metric[0].targets:
        return None
    if metric is None and all(may_be_numbers(column, frame[column].str.strip()) for column in columns):
        return None
    if len(columns) < 2 or (sample is not None and sample.has_fractions):
        return None
    if all(is_flag(frame[column].str.strip()).all() for column in columns):
        return None
    if not all(_has_few_classes(frame[column]) for column in columns):
        return None
    numbers = all(frame[column].str.strip().str.fullmatch(NUMBER).all() for column in columns)
    return "each column holds a few classes of its own" + (f"; {OR_REGRESSION}" if numbers else "")


def read_questions(
    frame: pd.DataFrame, id_column: str, columns: tuple[str, ...], csv: str
) -> tuple[pd.DataFrame, Counter[str], str]:
    """Return the table with all labels of a row in its label column, the count of each label, and a description."""
    form = TableFormat(task="questions", id_column=id_column, label_columns=columns)
    frame = read_cells(frame, form, Path(csv))
    counts = [f"{column} with {frame[column].str.strip().nunique()} classes" for column in columns[:LISTED]]
    more = ", ..." if len(columns) > LISTED else ""
    labels = labels_of(frame[form.label_column].tolist(), form.cell_separator)
    number = f"{len(columns)} column{'s' if len(columns) > 1 else ''}"
    return frame, labels, f"{number}: {', '.join(counts)}{more}"


def _has_few_classes(cells: pd.Series) -> bool:
    """Return whether cells hold several classes with enough rows each, and no fractions."""
    full = cells.str.strip()
    full = full[full != ""]
    fractions = full.str.fullmatch(r"[+-]?\d*\.\d+") & ~full.str.fullmatch(r"[+-]?\d+\.0+")
    return full.nunique() > 1 and len(full) >= ROWS_A_CLASS * full.nunique() and not fractions.any()


def auxiliary_candidates(form: TableFormat, frame: pd.DataFrame, contents: Contents) -> list[str]:
    """Return columns of the training table that test images lack, and that could be learned beside the answers."""
    task = TASKS[form.task]
    if not (task.numeric or task.asks_columns):
        return []
    tests = [table for csv, table in contents.tables.items() if is_held_out(Path(csv).stem)]
    known = {form.label_column, form.group_column, *form.number_columns}
    known |= {str(column) for table in tests for column in table}
    fits = _has_few_classes if task.asks_columns else _are_many_numbers
    names = {*label_candidates(frame, form.id_column), *number_columns(frame, form.id_column)}
    return [column for column in frame.columns if column in names - known and fits(frame[column])]


def _are_many_numbers(cells: pd.Series) -> bool:
    """Return whether cells are numbers with more than two distinct values."""
    full = cells.str.strip()
    full = full[full != ""]
    return full.nunique() > 2 and bool(full.str.fullmatch(NUMBER).all())
