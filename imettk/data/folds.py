"""The fold in which each sample validates, and the file `folds.csv` that stores it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from imettk.config import FoldConfig
from imettk.data.identity_folds import MIXED, deal_evenly, hold_out, identities_of_units, unknown_folds
from imettk.data.sample_table import SampleTable
from imettk.data.stratify import stratify
from imettk.errors import ConfigError, DataError, MismatchError, MissingFileError
from imettk.files import write_atomically
from imettk.tasks import Task

ONLY_TRAINS, LEFT_OUT, GALLERY_ONLY = -1, -2, -3  # values in place of a fold
MOST_CELLS = 100_000  # groups x classes up to which scikit-learn's splitter is fast enough


class Stratifier(NamedTuple):
    """A method of dealing rows to similar folds.

    Attributes:
        deal: (strata, plan, groups or None) -> the fold of each row, int64 (N,).
        deal_few: (strata of rows or groups, plan) -> the same for tables that `deal` refuses or takes minutes for.
    """

    deal: Callable[[np.ndarray, FoldConfig, np.ndarray | None], np.ndarray]
    deal_few: Callable[[np.ndarray, FoldConfig], np.ndarray] | None = None


def make_folds(targets: np.ndarray, plan: FoldConfig, *, task: Task, groups: np.ndarray | None = None) -> np.ndarray:
    """Deal samples to folds that are alike; groups are never split.

    Args:
        targets: targets in the form of the task, first axis N.
        groups: any dtype (N,), or None.

    Returns:
        The fold of each sample, int64 (N,), in [0, num_folds).

    Raises:
        DataError: there are fewer samples, or fewer groups, than folds.
    """
    units = len(targets) if groups is None else len(np.unique(groups))
    if units < plan.num_folds:
        raise DataError(
            f"{units} {'samples' if groups is None else 'groups'} cannot fill {plan.num_folds} folds; "
            "set --folds.num-folds lower"
        )
    deal = STRATIFIERS[task.stratifier].deal if plan.stratify else _split
    return deal(task.strata(targets), plan, groups)


def _split(classes: np.ndarray, plan: FoldConfig, groups: np.ndarray | None) -> np.ndarray:
    """Deal with scikit-learn's splitters; `classes` int64 (N,) matter only if the plan stratifies."""
    splitter = _splitter(plan, grouped=groups is not None)
    folds = np.full(len(classes), -1, np.int64)
    with warnings.catch_warnings():
        # A class rarer than the number of folds is missing from some folds: expected in these competitions.
        warnings.filterwarnings("ignore", message="The least populated class|The number of unique classes")
        try:
            for fold, (_, valid) in enumerate(splitter.split(np.zeros(len(classes)), classes, groups)):
                folds[valid] = fold
        except ValueError as error:
            raise DataError(f"the table cannot be split evenly ({error}); try --folds.stratify False") from None
    return folds


def _stratify(labels: np.ndarray, plan: FoldConfig, groups: np.ndarray | None) -> np.ndarray:
    return stratify(labels, plan.num_folds, plan.seed, groups=groups)


def _deal_evenly(classes: np.ndarray, plan: FoldConfig) -> np.ndarray:
    return deal_evenly(classes, plan.num_folds, plan.seed)


STRATIFIERS: dict[str, Stratifier] = {
    "labels": Stratifier(_stratify),
    "classes": Stratifier(_split, _deal_evenly),
}


def make_table_folds(
    targets: np.ndarray,
    sources: np.ndarray,
    plan: FoldConfig,
    *,
    task: Task,
    validates: Sequence[bool],
    guessed: Sequence[bool] = (),
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Return the fold of each row of several tables, or the reason why it has none, int64 (N,).

    Each table is dealt by itself, but a group never straddles folds, whatever tables it is in: its rows in a later
    table follow it, or are left out if that table does not validate, because they would train on what is validated.
    Identities that a fold holds out (`hold_out`, `unknown_identities`) are held out of all validating tables together.

    Args:
        targets: targets in the form of the task, first axis N.
        sources: table of each row, int (N,), 0 for the training table.
        validates: flag of each table; the others only train.
        guessed: flag of each table whose labels are pseudo labels, by default none. No fold depends on its rows: models
            that were trained on these very folds have labelled them.

    Raises:
        ConfigError: the plan needs identities, but rows have several labels.
        DataError: there are too few rows, groups or identities.
    """
    folds, identities = np.full(len(targets), ONLY_TRAINS, np.int64), task.identities(targets)
    known = ~np.asarray([*guessed, *[False] * (len(validates) - len(guessed))])[sources]
    if identities is not None:
        folds[is_rare(identities, plan, counted=known)] = GALLERY_ONLY
    elif plan.scheme == "hold_out" or plan.unknown_identities or plan.min_images > 1:
        raise ConfigError(
            "`folds.scheme` hold_out, `folds.unknown_identities` and `folds.min_images` need one identity per row: "
            "set `table.task` to multiclass"
        )
    if plan.scheme == "none":
        return folds
    member = np.arange(len(targets)) if groups is None else np.unique(groups, return_inverse=True)[1]
    deals = np.asarray(validates)[sources]
    fold_of_group = np.full(member.max(initial=0) + 1, ONLY_TRAINS, np.int64)
    if identities is not None:
        fold_of_group = _by_identity(identities, member, plan, kept=(folds == ONLY_TRAINS) & known, deals=deals)
    for source in range(len(validates)):  # in order: groups of an earlier table decide for later ones
        rows = np.flatnonzero((sources == source) & (folds == ONLY_TRAINS))
        dealt = fold_of_group[member[rows]]
        folds[rows[dealt >= 0]] = dealt[dealt >= 0] if validates[source] else LEFT_OUT
        rows = rows[dealt < 0]
        if plan.scheme == "deal" and validates[source] and len(rows):
            units = np.unique(member[rows], return_inverse=True)[1]
            folds[rows] = _deal_table(targets[rows], units, plan, task, first=source == 0, grouped=groups is not None)
            fold_of_group[member[rows]] = folds[rows]
    return folds


def is_rare(identities: np.ndarray, plan: FoldConfig, *, counted: np.ndarray | None = None) -> np.ndarray:
    """Return which rows belong to an identity with fewer than `min_images` rows, bool (N,).

    Args:
        identities: int64 (N,), -1 if unknown.
        counted: rows that count, bool (N,); None for all.
    """
    rows = identities if counted is None else identities[counted]
    counts = np.bincount(rows[rows >= 0], minlength=identities.max(initial=0) + 1)
    return (identities >= 0) & (counts[identities] < plan.min_images)


def _by_identity(
    targets: np.ndarray, member: np.ndarray, plan: FoldConfig, *, kept: np.ndarray, deals: np.ndarray
) -> np.ndarray:
    """Return the folds that groups get by their identity, int64 (G,), -1 for others.

    Args:
        member: group of each row, int64 (N,).
        kept: rows that are not left out, bool (N,).
        deals: rows of tables that validate, bool (N,).
    """
    num_groups, rows = member.max(initial=0) + 1, kept & deals
    identities = identities_of_units(targets[rows], member[rows], num_groups)
    all_identities = identities_of_units(targets[kept], member[kept], num_groups)
    # An identity is unknown to a fold only if none of its images trains there, including other tables and mixed groups.
    whole = np.zeros(targets.max(initial=0) + 1, bool)
    whole[identities[identities >= 0]] = True
    whole[targets[kept & (targets >= 0) & ((all_identities[member] == MIXED) | ~deals)]] = False
    unknown = unknown_folds(targets[kept], plan, eligible=whole)
    folds = np.where(identities >= 0, unknown[np.maximum(identities, 0)], ONLY_TRAINS)
    if plan.scheme == "hold_out":
        open_ = folds == ONLY_TRAINS
        folds[open_] = hold_out(identities[open_], plan)
    return folds


def _deal_table(
    targets: np.ndarray, units: np.ndarray, plan: FoldConfig, task: Task, *, first: bool, grouped: bool
) -> np.ndarray:
    """Return the folds of the rows of one table, int64 (N,); a later table may have fewer units than folds."""
    num_units = units.max() + 1
    deal_few = STRATIFIERS[task.stratifier].deal_few if plan.stratify else None
    if deal_few is not None:
        grouped, strata = num_units < len(units), task.strata(targets)
        # scikit-learn loops over all classes for every group, which takes minutes for thousands of both, and refuses
        # tables whose classes are all rarer than the number of folds, as those of a second table may be.
        if not first or (grouped and num_units * len(np.unique(strata)) > MOST_CELLS):
            return deal_few(strata[np.unique(units, return_index=True)[1]], plan)[units]
    if not first and num_units < plan.num_folds:
        return units
    return make_folds(targets, plan, task=task, groups=units if grouped else None)


def write_folds(path: Path, ids: np.ndarray, folds: np.ndarray) -> None:
    """Write `id,fold` rows; a file with the same content is left untouched, and so keeps its modification time."""
    content = _as_csv(ids, folds)
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)


def is_beginning(path: Path, ids: np.ndarray, folds: np.ndarray) -> bool:
    """Return whether a file is missing or holds only the beginning of what `write_folds` would write.

    Versions that did not write it in one piece left such a file after a kill or a full disk.
    """
    return not path.is_file() or _as_csv(ids, folds).startswith(path.read_bytes())


def _as_csv(ids: np.ndarray, folds: np.ndarray) -> bytes:
    return pd.DataFrame({"id": ids, "fold": folds}).to_csv(index=False).encode()


def read_folds(path: Path, table: SampleTable) -> np.ndarray:
    """Read the fold of each sample of the table, int64 (N,), joined by id.

    Raises:
        MissingFileError: `prepare` has not written the file.
        MismatchError: table and folds do not hold the same ids.
    """
    frame = read_fold_file(path)
    folds = dict(zip(frame["id"], frame["fold"], strict=True))
    if len(folds) != len(table) or not all(name in folds for name in table.ids):
        raise MismatchError(
            f"{path} belongs to another table ({len(folds)} ids against {len(table)}): the data has changed; "
            "run `imettk prepare` in a new --run-dir, or in this one if the file is truncated"
        )
    return np.array([folds[name] for name in table.ids], np.int64)


def read_fold_file(path: Path) -> pd.DataFrame:
    """Read the columns `id`, text, and `fold`, int64, of a file that `write_folds` wrote; raises as `read_folds`."""
    try:
        frame = pd.read_csv(path, dtype={"id": str, "fold": np.int64}, keep_default_na=False)
    except FileNotFoundError:
        raise MissingFileError(f"{path} is missing: run `imettk prepare` first, which makes the folds") from None
    except (ValueError, KeyError) as error:  # pandas' own errors derive from these
        raise MismatchError(
            f"{path} is damaged ({' '.join(str(error).split())}): run `imettk prepare` again in this folder"
        ) from None
    if not {"id", "fold"} <= set(frame.columns):
        raise MismatchError(f"{path} has no columns id and fold: run `imettk prepare` again in this folder")
    return frame[["id", "fold"]]


def _splitter(plan: FoldConfig, *, grouped: bool):  # type: ignore[no-untyped-def]
    """Return scikit-learn's splitter for one class per row, or for unstratified folds."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    kind = (
        (StratifiedGroupKFold if grouped else StratifiedKFold) if plan.stratify else (GroupKFold if grouped else KFold)
    )
    return kind(n_splits=plan.num_folds, shuffle=True, random_state=plan.seed)
