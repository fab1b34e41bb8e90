"""Columns of votes: the number of votes for each label, or their shares."""

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
ROUNDING = 0.03  # rows of rounded shares may sum to 1 within this
OR_REGRESSION = "give --task regression if they are quantities"


def asks_votes(choices: Choices) -> bool | None:
    """Return whether the user's task or metric asks for votes; None if neither decides."""
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
    """Return the columns called votes, or if votes were requested, all columns of numbers; () for fewer than two."""
    requested = asks_votes(choices)
    if requested is False:
        return ()
    candidates = {*label_candidates(frame, id_column), *number_columns(frame, id_column)}
    columns = [str(name) for name in frame.columns if name in candidates and _numbers(frame, (name,)) is not None]
    named = [column for column in columns if VOTE_NAME.fullmatch(column)]
    votes = named if len(named) > 1 or not requested else columns
    return tuple(votes) if len(votes) > 1 else ()


def why_votes(frame: pd.DataFrame, columns: tuple[str, ...], sample: Sample | None, choices: Choices) -> str | None:
    """Return the reason why these columns hold votes; None without one.

    Votes are shares that sum to 1 in each row, or whole numbers if the sample submission has such shares. Several
    regression targets are neither.
    """
    numbers = _numbers(frame, columns)
    requested = asks_votes(choices)
    if numbers is None or requested is False:
        return None
    if requested:
        return "as requested" if choices.question is not None else f"{choices.metric} judges votes"
    if len(columns) < 2 or all(is_flag(frame[column].str.strip()).all() for column in columns):
        return None
    if _sum_to_one(numbers):
        return f"the shares of each row sum to 1; {OR_REGRESSION}"
    if (numbers % 1 != 0).any():
        return None
    shown = None if sample is None or not {*columns} <= {*sample.answers} else _numbers(sample.frame, sample.answers)
    if shown is not None and sample is not None and sample.has_fractions and _sum_to_one(shown):
        return f"whole numbers, and rows of the sample submission sum to 1; {OR_REGRESSION}"
    if all(VOTE_NAME.fullmatch(column) for column in columns):
        return f"chosen by their names; {OR_REGRESSION}"
    return None


def count_rows(frame: pd.DataFrame, columns: tuple[str, ...]) -> Counter[str]:
    """Count the rows in which each column has the most votes; of equal columns the first counts."""
    numbers = _numbers(frame, columns)
    assert numbers is not None
    counts = np.bincount(numbers.argmax(1), minlength=len(columns))
    return Counter(dict(zip(columns, counts.tolist(), strict=True)))


def _numbers(frame: pd.DataFrame, columns: tuple[str, ...]) -> np.ndarray | None:
    """Return the numbers that columns hold, float64 (N, C); None if a cell is negative or not a number."""
    cells = [frame[column].str.strip() for column in columns]
    if not all(part.str.fullmatch(NUMBER).all() for part in cells):
        return None
    numbers = np.column_stack([pd.to_numeric(part).to_numpy(np.float64) for part in cells])
    return numbers if (numbers >= 0).all() else None


def _sum_to_one(numbers: np.ndarray) -> bool:
    """Return whether each row sums to 1, up to rounding."""
    return bool((np.abs(numbers.sum(1) - 1) <= ROUNDING).all())
