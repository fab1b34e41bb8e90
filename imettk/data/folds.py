"""Which fold each sample validates in, and the `folds.csv` that keeps it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import FoldPlan
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
    if groups is not None and plan.stratify and targets.ndim == 2:
        return _grouped_multilabel(targets, groups, plan)
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0].astype(np.int64)  # one label is two classes
    splitter = _splitter(plan, multilabel=targets.ndim == 2, grouped=groups is not None)
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


def _splitter(plan: FoldPlan, *, multilabel: bool, grouped: bool):  # type: ignore[no-untyped-def]
    """The library's splitter for this kind of table."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    if grouped and not plan.stratify:
        return GroupKFold(plan.num_folds, shuffle=True, random_state=plan.seed)
    if grouped:
        kind = StratifiedGroupKFold
    elif not plan.stratify:
        kind = KFold
    else:
        kind = MultilabelStratifiedKFold if multilabel else StratifiedKFold
    return kind(n_splits=plan.num_folds, shuffle=True, random_state=plan.seed)


def _grouped_multilabel(targets: np.ndarray, groups: np.ndarray, plan: FoldPlan) -> np.ndarray:
    """Whole groups to folds, largest first, each to the fold that leaves counts most even (no library has this).

    What is kept even is the number of samples and of each label, relative to its total, so that rare labels count as
    much.
    """
    names, member = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), targets.shape[1] + 1))
    np.add.at(counts, member, np.column_stack([targets, np.ones(len(targets))]).astype(np.float64))
    shares = counts / np.maximum(counts.sum(0), 1)
    rng = np.random.default_rng(plan.seed)
    order = rng.permutation(len(names))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    filled = np.zeros((plan.num_folds, shares.shape[1]))
    group_fold = np.zeros(len(names), np.int64)
    for group in order:
        # The increase of sum(filled ** 2) when the group joins a fold is 2 * filled . share + const.
        group_fold[group] = np.argmin(filled @ shares[group])
        filled[group_fold[group]] += shares[group]
    return group_fold[member]
