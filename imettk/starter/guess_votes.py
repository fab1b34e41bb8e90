"""Columns that hold how many votes each label has in a row, or their shares."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pandas as pd

from imettk.data.label_cells import is_flag
from imettk.metrics import find_metric
from imettk.starter.guess_columns import Choices, label_candidates, number_columns
from imettk.starter.guess_sample import Sample
from imettk.starter.questions import QUESTIONS
from imettk.tasks import TASKS
from imettk.tasks.task import NUMBER

VOTE_NAME = re.compile(r".*(\b|_)votes?|.*Votes?", re.IGNORECASE)
ROUNDED = 0.03  # by which rows of shares that a person has written may be off 1
OTHERWISE = "where they are numbers, give --task regression"


def asks_votes(choices: Choices) -> bool | None:
    """Return whether a user says that there are votes; None where the data must tell."""
    if choices.question is not None:
        return TASKS[QUESTIONS[choices.question].task].votes
    named = None if choices.metric is None else find_metric(choices.metric)
    if named is None:
        return None
    of_votes = [task.targets for task in TASKS.values() if task.votes]
    if not set(of_votes) & set(named[0].targets):
        return False
    return True if set(named[0].targets) <= set(of_votes) else None


def vote_columns(frame: pd.DataFrame, id_column: str, choices: Choices) -> tuple[str, ...]:
    """Return the columns that are called votes, or all that hold numbers where votes were asked for; () for fewer than
    two."""
    asked = asks_votes(choices)
    if asked is False:
        return ()
    named = {*label_candidates(frame, id_column), *number_columns(frame, id_column)}
    columns = [str(column) for column in frame.columns if column in named and _numbers(frame, (column,)) is not None]
    called = [column for column in columns if VOTE_NAME.fullmatch(column)]
    found = called if len(called) > 1 or not asked else columns
    return tuple(found) if len(found) > 1 else ()


def why_votes(frame: pd.DataFrame, columns: tuple[str, ...], sample: Sample | None, choices: Choices) -> str | None:
    """Return why these columns hold votes; None where they do not, or nothing says so.

    Numbers of several targets are no votes: neither are they shares that sum to 1 in each row, nor are they whole while
    the sample submission has such shares.
    """
    numbers = _numbers(frame, columns)
    asked = asks_votes(choices)
    if numbers is None or asked is False:
        return None
    if asked:
        return "as asked for" if choices.question is not None else f"{choices.metric} judges votes"
    if len(columns) < 2 or all(is_flag(frame[column].str.strip()).all() for column in columns):
        return None
    if _sum_to_one(numbers):
        return f"the shares of each row sum to 1; {OTHERWISE}"
    if (numbers % 1 != 0).any():
        return None
    shown = None if sample is None or not {*columns} <= {*sample.answers} else _numbers(sample.frame, sample.answers)
    if shown is not None and sample is not None and sample.has_fractions and _sum_to_one(shown):
        return f"whole numbers, and rows of the sample submission sum to 1; {OTHERWISE}"
    if all(VOTE_NAME.fullmatch(column) for column in columns):
        return f"by their names; {OTHERWISE}"
    return None


def count_rows(frame: pd.DataFrame, columns: tuple[str, ...]) -> Counter[str]:
    """Return in how many rows each column has the most votes, the first one of equal ones."""
    numbers = _numbers(frame, columns)
    assert numbers is not None
    counts = np.bincount(numbers.argmax(1), minlength=len(columns))
    return Counter(dict(zip(columns, counts.tolist(), strict=True)))


def _numbers(frame: pd.DataFrame, columns: tuple[str, ...]) -> np.ndarray | None:
    """The numbers that columns hold, float64 (N, C); None where a cell holds none, or one below 0."""
    cells = [frame[column].str.strip() for column in columns]
    if not all(part.str.fullmatch(NUMBER).all() for part in cells):
        return None
    numbers = np.column_stack([pd.to_numeric(part).to_numpy(np.float64) for part in cells])
    return numbers if (numbers >= 0).all() else None


def _sum_to_one(numbers: np.ndarray) -> bool:
    return bool((np.abs(numbers.sum(1) - 1) <= ROUNDED).all())
