"""Predictions of another tool -> predictions of folds, checked by id, fold and value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imettk.config import Recipe
from imettk.data.csv_files import list_names, require_unique
from imettk.data.frame_files import read_frame, read_header
from imettk.data.sample_table import SampleTable
from imettk.errors import ConfigError, DataError, MismatchError
from imettk.evaluation.frames import FOLD, ID, TRUTH, label_columns, truth_columns
from imettk.experiment.imported import IMPORTED
from imettk.experiment.prepared import Prepared
from imettk.inference.predictor import Predictions
from imettk.progress import say
from imettk.tracking.files import sha256

TOLERANCE = 1e-3  # of a sum of probabilities, which other tools write with a few digits


def read_oof(path: Path, recipe: Recipe, prepared: Prepared) -> dict[int, Predictions]:
    """Read out-of-fold predictions: columns `id`, `fold` and one for each label, as `imettk export` writes them.

    Returns:
        Predictions of each fold in the file, in the order of the table.

    Raises:
        DataError: a column, id or number is missing or wrong.
        MismatchError: a row has another fold, so that its prediction may come from a model that has seen it; or another
            truth.
    """
    table, task = prepared.table, recipe.task
    expected = truth_columns(task, table.targets, table.labels)
    frame = _read(path, recipe, table, [FOLD], list(expected))
    if frame.empty:
        raise DataError(f"{path} has no rows: it needs those of at least one fold")
    rows = _rows_of(path, frame, table.ids, "training table", needs_all=False)
    _require_folds(path, frame, prepared.folds[rows], table.ids)
    _require_truth(path, frame, {name: values[rows] for name, values in expected.items()})
    outputs = _outputs_of(path, frame, recipe, table)
    values, parts = _values(path, recipe, table), {}
    for fold in np.unique(prepared.folds[rows]).tolist():
        of_fold = np.flatnonzero(prepared.folds[rows] == fold)
        of_fold = of_fold[np.argsort(rows[of_fold])]
        lacking = np.setdiff1d(prepared.rows(fold, valid=True), rows[of_fold])
        if len(lacking):
            raise DataError(f"{path} lacks {list_names(table.ids[lacking], 'row')} of fold {fold}: predict all of them")
        at = rows[of_fold]
        parts[fold] = Predictions(table.ids[at], outputs[None, of_fold], values, table.targets[at])
    return parts


def read_test(path: Path, recipe: Recipe, table: SampleTable) -> Predictions:
    """Read predictions of the test set: columns `id` and one for each label; raises as `read_oof`.

    Args:
        table: the test set, in whose order they are returned.
    """
    frame = _read(path, recipe, table, [], [])
    rows = _rows_of(path, frame, table.ids, "test set", needs_all=True)
    outputs = _outputs_of(path, frame, recipe, table)[np.argsort(rows)]
    return Predictions(table.ids, outputs[None], _values(path, recipe, table))


def _values(path: Path, recipe: Recipe, table: SampleTable) -> dict[str, Any]:
    """Return the values of the file that keeps the predictions; no model has the hash that stands for one."""
    digest = sha256(path)
    return {
        "labels": list(table.labels),
        "label_groups": list(table.label_groups),
        "task": recipe.table.task,
        "views": [IMPORTED],
        "merge": "mean",
        "model": digest,
        IMPORTED: {"file": path.name, "sha256": digest},
    }


def _read(path: Path, recipe: Recipe, table: SampleTable, more: Sequence[str], truth: Sequence[str]) -> pd.DataFrame:
    """Read the columns of ids and labels, and others; a note names those that are ignored.

    Args:
        more: further columns that the file needs.
        truth: columns that it may have.
    """
    if recipe.ranks_by_neighbours:
        raise ConfigError("the recipe ranks by neighbours, whose runs are joined by embeddings: there is no import")
    header, labels = read_header(path), label_columns(table.labels)
    there = set(header)
    if lacking := [name for name in [ID, *more, *labels] if name not in there]:
        advice = {ID: "the ids of the table", FOLD: "the folds of folds.csv, on which the other tool has trained"}
        hint = "; ".join(f"{name} holds {advice[name]}" for name in lacking if name in advice)
        raise DataError(
            f"{path} has no column {', '.join(lacking[:5])}{', ...' if lacking[5:] else ''}; it has "
            f"{list_names(header, 'column')}, and needs {', '.join([ID, *more])} and a column for each of "
            f"{list_names(labels, 'label')}{'. ' + hint if hint else ''}"
        )
    given = [name for name in truth if name in there]
    known = {ID, *more, *labels, *given}
    if ignored := [name or "(unnamed)" for name in header if name not in known and name.split(":")[0] != TRUTH]:
        say(f"note: {path}: ignored {list_names(ignored, 'column')}")
    numeric = [name for name in given if name != TRUTH]
    text = [ID, *more, *(name for name in given if name == TRUTH)]
    return read_frame(path, text=text, numbers=[*labels, *numeric])


def _rows_of(path: Path, frame: pd.DataFrame, ids: np.ndarray, what: str, *, needs_all: bool) -> np.ndarray:
    """Return the row of the table for each row of a file, int64 (M,)."""
    require_unique(frame[ID], path)
    rows = pd.Index(ids).get_indexer(pd.Index(frame[ID]))
    faults = [f"{list_names(frame[ID][rows < 0], 'id')} that the {what} has not"] if (rows < 0).any() else []
    lacking = np.setdiff1d(np.arange(len(ids) if needs_all else 0), rows)
    if len(lacking):
        faults.append(f"no row for {list_names(ids[lacking], 'id')} of the {what}")
    if faults:
        plain = {name.lstrip("0") for name in ids[:1000].tolist()}
        hint = " (were ids read as numbers? read them as text)" if plain & set(frame[ID][rows < 0]) else ""
        raise DataError(f"{path}: {', and '.join(faults)}{hint}")
    return np.asarray(rows, np.int64)


def _require_folds(path: Path, frame: pd.DataFrame, folds: np.ndarray, ids: np.ndarray) -> None:
    """Raise if a row has another fold in the file than in `folds.csv`, int64 (M,)."""
    given = pd.to_numeric(frame[FOLD], errors="coerce").to_numpy(np.float64)
    if len(none := frame[ID][folds < 0]):
        raise DataError(
            f"{path}: {list_names(none, 'row')} that no fold validates (below 0 in folds.csv), so no prediction of "
            "them is out of fold: leave them out"
        )
    differ = given != folds
    if not differ.any():
        return
    pairs = sorted({*zip(frame[FOLD].tolist(), folds.tolist(), strict=True)})
    if len(pairs) == len({name for name, _ in pairs}) == len({fold for _, fold in pairs}):
        numbers = ", ".join(f"{name} for {fold}" for name, fold in pairs[:5])
        raise MismatchError(f"{path} numbers the folds of folds.csv differently ({numbers}): write its numbers there")
    raise MismatchError(
        f"{path}: {int(differ.sum())} of {len(frame)} rows have another fold than in folds.csv "
        f"({list_names(frame[ID][differ], 'row')}): models that have seen a row would predict it, and its score would "
        "be too good; train the other tool on the folds that `imettk export` writes"
    )


def _require_truth(path: Path, frame: pd.DataFrame, truth: dict[str, np.ndarray]) -> None:
    """Raise if columns with the truth, which a file need not have, differ from the table."""
    for name, values in truth.items():
        if name not in frame:
            continue
        if name == TRUTH:
            same = frame[name].to_numpy(object) == pd.Series(values).fillna("").to_numpy(object)
        else:
            same = frame[name].to_numpy().astype(np.float32) == values.astype(np.float32)
        if not same.all():
            raise MismatchError(
                f"{path}: column {name} differs from the table for {list_names(frame[ID][~same], 'row')}: do its rows "
                "belong to other ids? If it holds something else, rename it"
            )


def _outputs_of(path: Path, frame: pd.DataFrame, recipe: Recipe, table: SampleTable) -> np.ndarray:
    """Return what a network would output for the labels' columns, float32 (M, O).

    Raises:
        DataError: a value is not finite, or probabilities are none.
    """
    columns = label_columns(table.labels)
    values = frame[columns].to_numpy(np.float64)
    _require_values(path, frame[ID], values, columns, np.abs(values) <= np.finfo(np.float32).max, "finite")
    if not recipe.task.numeric:
        holds = (values >= 0) & (values <= 1)
        _require_values(path, frame[ID], values, columns, holds, "probabilities in [0, 1]")
    start = 0
    for size in recipe.task.exclusive_parts(table.label_groups):
        of_part = slice(start, start := start + size)
        total = values[:, of_part].sum(1)
        if (off := np.abs(total - 1) > TOLERANCE).any():
            names = list_names(columns[of_part], "class", "classes")
            raise DataError(
                f"{path}: {list_names(frame[ID][off], 'row')} whose probabilities of {names} do not sum to 1: for "
                f"{frame[ID][off].iloc[0]} they sum to {total[off][0]:.6g}"
            )
    return recipe.task.outputs_of(values).astype(np.float32)


def _require_values(
    path: Path, ids: pd.Series, values: np.ndarray, columns: Sequence[str], holds: np.ndarray, rule: str
) -> None:
    """Raise `DataError` with the first value that breaks a rule, bool (M, C)."""
    if holds.all():
        return
    row, column = np.argwhere(~holds)[0].tolist()
    rows = list_names(ids[np.asarray((~holds).any(1))], "row")
    example = f"{columns[column]} of {ids.iloc[row]} is {values[row, column].item()!r}"
    raise DataError(f"{path}: {rows} with values that are not {rule}: {example}")
