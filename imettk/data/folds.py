"""Which fold each sample validates in, and the `folds.csv` that keeps it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import FoldPlan
from imettk.data.stratify import stratify
from imettk.data.table import SampleTable
from imettk.errors import DataError, MismatchError, MissingFileError

ONLY_TRAINS, LEFT_OUT = -1, -2  # instead of a fold


def make_folds(targets: np.ndarray, plan: FoldPlan, *, groups: np.ndarray | None = None) -> np.ndarray:
    """Deal samples to folds with even label counts; groups are never split.

    Args:
        targets: int64 (N,) class index, or uint8 (N, C).
        groups: any dtype (N,), or None.

    Returns:
        The fold of each sample, int64 (N,), in [0, num_folds).

    Raises:
        DataError: fewer samples, or fewer groups, than folds.
    """
    units = len(targets) if groups is None else len(np.unique(groups))
    if units < plan.num_folds:
        raise DataError(
            f"{units} {'samples' if groups is None else 'groups'} cannot fill {plan.num_folds} folds; "
            "set --folds.num-folds lower"
        )
    if plan.stratify and targets.ndim == 2:
        return stratify(targets, plan.num_folds, plan.seed, groups=groups)
    splitter = _splitter(plan, grouped=groups is not None)
    folds = np.full(len(targets), -1, np.int64)
    with warnings.catch_warnings():
        # A class rarer than the number of folds is missing from some of them: expected in these competitions.
        warnings.filterwarnings("ignore", message="The least populated class")
        try:
            for fold, (_, valid) in enumerate(splitter.split(np.zeros(len(targets)), targets, groups)):
                folds[valid] = fold
        except ValueError as error:
            raise DataError(f"the table cannot be split evenly ({error}); try --folds.stratify False") from None
    return folds


def make_table_folds(
    targets: np.ndarray,
    sources: np.ndarray,
    plan: FoldPlan,
    *,
    validates: Sequence[bool],
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """The fold of each row of several tables, each dealt by itself, or why it has none, int64 (N,).

    A group never straddles folds, whatever tables it is in: its rows in a later table go where it is already, or, in
    one that does not validate, are left out, for they would train what is validated.

    Args:
        sources: the table of each row, int (N,), 0 for the training table.
        validates: of each table; others only train.
    """
    folds = np.full(len(targets), ONLY_TRAINS, np.int64)
    member = np.arange(len(targets)) if groups is None else np.unique(groups, return_inverse=True)[1]
    fold_of_group = np.full(member.max(initial=0) + 1, ONLY_TRAINS, np.int64)
    for source, deals in enumerate(validates):
        rows = np.flatnonzero(sources == source)
        dealt = fold_of_group[member[rows]]
        folds[rows[dealt >= 0]] = dealt[dealt >= 0] if deals else LEFT_OUT
        rows = rows[dealt < 0]
        if deals and len(rows):
            units = np.unique(member[rows], return_inverse=True)[1]
            if source and units.max() + 1 < plan.num_folds:  # what groups with other tables have left over
                folds[rows] = units
            else:
                folds[rows] = make_folds(targets[rows], plan, groups=None if groups is None else units)
            fold_of_group[member[rows]] = folds[rows]
    return folds


def write_folds(path: Path, ids: np.ndarray, folds: np.ndarray) -> None:
    """Write `id,fold` rows."""
    pd.DataFrame({"id": ids, "fold": folds}).to_csv(path, index=False)


def read_folds(path: Path, table: SampleTable) -> np.ndarray:
    """The fold of each sample of the table, int64 (N,), joined by id.

    Raises:
        MissingFileError: `prepare` has not written the file.
        MismatchError: table and folds do not hold the same ids.
    """
    try:
        frame = pd.read_csv(path, dtype={"id": str, "fold": np.int64}, keep_default_na=False)
    except FileNotFoundError:
        raise MissingFileError(f"{path} is missing: run `imettk prepare` first, which makes the folds") from None
    folds = dict(zip(frame["id"], frame["fold"], strict=True))
    if len(folds) != len(table) or not all(name in folds for name in table.ids):
        raise MismatchError(
            f"{path} is not of this table ({len(folds)} ids against {len(table)}): the data has changed; "
            "run `imettk prepare` in a new --run-dir"
        )
    return np.array([folds[name] for name in table.ids], np.int64)


def _splitter(plan: FoldPlan, *, grouped: bool):  # type: ignore[no-untyped-def]
    """scikit-learn's splitter for one class a row, or for folds that go by nothing."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    kind = (
        (StratifiedGroupKFold if grouped else StratifiedKFold) if plan.stratify else (GroupKFold if grouped else KFold)
    )
    return kind(n_splits=plan.num_folds, shuffle=True, random_state=plan.seed)
