"""A test set dealt from a training table: whole groups, labels as evenly as they go, and no label lost to training."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd

from imettk.config import FoldConfig
from imettk.data.folds import make_table_folds
from imettk.errors import DataError
from imettk.tasks import Task

MOST_PARTS = 20  # that rows are dealt into, of which some become the test set


def choose_test_rows(
    labels: list[list[str]],
    share: float,
    *,
    task: Task,
    columns: tuple[str, ...] = (),
    groups: pd.Series | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, list[str]]:
    """Which rows are for the test set.

    Args:
        labels: of each row; exactly one where labels exclude each other; or its numbers.
        share: of the rows, above 0, at most 0.5.
        columns: names of these numbers.
        groups: rows of one value stay together.

    Returns:
        bool (N,), and the labels whose rows stay in training because it would have none of them.

    Raises:
        DataError: there are too few rows or groups.
    """
    names = list(columns) if task.numbered else sorted({label for row in labels for label in row})
    column = {label: place for place, label in enumerate(names)}
    width = len(labels[0]) if task.numbered and labels else len(names)
    dealt = task.make_targets(labels, column, width)
    targets = task.label_matrix(dealt, width)
    units = np.arange(len(labels)) if groups is None else np.unique(groups.to_numpy(str), return_inverse=True)[1]
    num_units, kind = len(np.unique(units)), "rows" if groups is None else "groups"
    if num_units < 2:
        raise DataError(f"--hold-out needs at least 2 {kind}, there are {num_units}")
    part = Fraction(share).limit_denominator(min(MOST_PARTS, num_units))
    if part == 0:
        raise DataError(f"--hold-out {share:g} is less than one of {num_units} {kind}")
    plan = FoldConfig(num_folds=part.denominator, seed=seed)
    # Where every label is rarer than the parts, rows are dealt as those of a second table: that needs no common one.
    sources = np.full(len(labels), int(targets.sum(0).max() < part.denominator), np.int16)
    grouped = None if groups is None else units
    folds = make_table_folds(dealt, sources, plan, task=task, validates=[True, True], groups=grouped)
    test = folds < part.numerator
    return _give_back(targets, units, test, names)


def _give_back(
    targets: np.ndarray, units: np.ndarray, test: np.ndarray, names: list[str]
) -> tuple[np.ndarray, list[str]]:
    """Back to training, with its group, the first row of each label that has none there."""
    test, lost = test.copy(), []
    for label in np.flatnonzero(targets.any(0)):
        rows = targets[:, label] > 0
        if not (rows & ~test).any():
            test &= units != units[np.flatnonzero(rows)[0]]
            lost.append(names[label])
    return test, lost
