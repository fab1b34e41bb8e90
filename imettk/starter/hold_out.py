"""A test set taken from a training table: whole groups, balanced labels, and no label lost to training."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd

from imettk.config import FoldConfig
from imettk.data.folds import make_table_folds
from imettk.errors import DataError
from imettk.tasks import Task

MAX_PARTS = 20  # parts into which rows are dealt; some of them become the test set


def choose_test_rows(
    labels: list[list[str]],
    share: float,
    *,
    task: Task,
    columns: tuple[str, ...] = (),
    groups: pd.Series | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, list[str]]:
    """Choose the rows of the test set.

    Args:
        labels: the labels of each row, exactly one if labels exclude each other; or its numbers.
        share: share of the rows to choose, (0, 0.5].
        columns: names of the numbers.
        groups: rows with the same value stay together.

    Returns:
        A mask of the chosen rows, bool (N,), and the labels of which one row was kept in training, as it would
        otherwise have none.

    Raises:
        DataError: there are too few rows or groups.
    """
    names = list(columns) if task.numbered else sorted({label for row in labels for label in row})
    column = {label: position for position, label in enumerate(names)}
    width = len(labels[0]) if task.numbered and labels else len(names)
    dealt = task.make_targets(labels, column, width)
    targets = task.label_matrix(dealt, width)
    units = np.arange(len(labels)) if groups is None else np.unique(groups.to_numpy(str), return_inverse=True)[1]
    num_units, kind = len(np.unique(units)), "rows" if groups is None else "groups"
    if num_units < 2:
        raise DataError(f"--hold-out needs at least 2 {kind}, got {num_units}")
    part = Fraction(share).limit_denominator(min(MAX_PARTS, num_units))
    if part == 0:
        raise DataError(f"--hold-out {share:g} is less than one of {num_units} {kind}: give a larger share")
    config = FoldConfig(num_folds=part.denominator, seed=seed)
    # Stratified folds refuse a training table without any label as frequent as there are parts. An extra table (source
    # 1) need not have one, so such rows are dealt as if they were of an extra table.
    sources = np.full(len(labels), int(targets.sum(0).max() < part.denominator), np.int16)
    grouped = None if groups is None else units
    folds = make_table_folds(dealt, sources, config, task=task, validates=[True, True], groups=grouped)
    test = folds < part.numerator
    return _return_lost_labels(targets, units, test, names)


def _return_lost_labels(
    targets: np.ndarray, units: np.ndarray, test: np.ndarray, names: list[str]
) -> tuple[np.ndarray, list[str]]:
    """Move the first row of each label without training rows back to training, with its whole group."""
    # A label that training lacks could never be answered, and the score would measure the split, not the network.
    test, returned = test.copy(), []
    for label in np.flatnonzero(targets.any(0)):
        rows = targets[:, label] > 0
        if not (rows & ~test).any():
            test &= units != units[np.flatnonzero(rows)[0]]
            returned.append(names[label])
    return test, returned
