"""Distillation: probabilities of other models become part of the targets."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.data.csv_files import list_names
from imettk.data.sample_table import LabelledTable
from imettk.errors import MismatchError, MissingFileError
from imettk.experiment.prepared import Prepared
from imettk.inference.predictor import load_predictions
from imettk.tasks import Task
from imettk.tracking.pseudo_files import content_of


def with_teacher(recipe: Recipe, prepared: Prepared, fold: int) -> tuple[Prepared, str]:
    """Return the data to train on, with other models' predictions in its targets, and a hash of what they added.

    Pseudo-labelled rows of which the fold's models are unsure are marked as bad: they do not train.
    """
    config, table = recipe.train, prepared.table
    assert table.sources is not None
    targets, unsure = with_pseudo_labels(recipe, table.targets, table.sources, table.ids, table.labels, fold)
    # Soft targets no longer show that an identity is unknown: such a row must not train.
    unsure |= ~recipe.task.learnable(table.targets)
    digest = "none"
    if targets is not table.targets:
        digest = hashlib.sha256(targets.tobytes()).hexdigest()[:16]
        prepared = replace(prepared, table=replace(table, targets=targets), bad=prepared.bad | unsure)
    if not config.teacher:
        return prepared, digest
    rows = prepared.rows(fold, valid=False)
    rows = rows[prepared.folds[rows] >= 0]  # rows that only train have no out-of-fold prediction
    mixed, digest = teach(prepared.table, rows, config.teacher, weight=config.teacher_weight, task=recipe.task)
    return replace(prepared, table=mixed, bad=prepared.bad | ~recipe.task.learnable(table.targets)), digest


def teach(
    table: LabelledTable, rows: np.ndarray, paths: tuple[str, ...], *, weight: float, task: Task
) -> tuple[LabelledTable, str]:
    """Return a table with targets (1 - weight) * its own + weight * the mean of the teachers' probabilities.

    Args:
        rows: those that must have a teacher, int64 (N,); others keep their targets.
        paths: prediction files; each image takes the mean over the views and files that know it.

    Returns:
        The table, targets float32 (M, O), and a hash of what was mixed in.

    Raises:
        MissingFileError: a file is not there, or no file knows some row.
        MismatchError: a file has other labels.
    """
    own = task.soft_answers(table.targets, task.num_outputs(len(table.labels)))
    own = own.copy() if own is table.targets else own  # validation still needs the table's own
    place = {name: row for row, name in enumerate(table.ids.tolist())}
    total, count = np.zeros(own.shape, np.float32), np.zeros(len(own), np.int64)
    for path in map(Path, paths):
        if not path.is_file():
            raise MissingFileError(
                f"`train.teacher`: {path} is missing; give prediction files of `validate` or `infer`"
            )
        predictions = load_predictions(path)
        if predictions.values.get("labels") != list(table.labels):
            raise MismatchError(f"`train.teacher`: {path} has other labels than the table")
        for name, probs in zip(predictions.ids.tolist(), predictions.merged, strict=True):
            if (row := place.get(name)) is not None:
                total[row] += probs
                count[row] += 1
    if (unknown := rows[count[rows] == 0]).size:
        raise MissingFileError(
            f"`train.teacher`: no file knows {unknown.size} of {rows.size} training rows (such as "
            f"{table.ids[unknown[0]]}); out-of-fold predictions of all folds together know every row"
        )
    known = count > 0
    own[known] = (1 - weight) * own[known] + weight * total[known] / count[known, None]
    return replace(table, targets=own), hashlib.sha256(own.tobytes()).hexdigest()[:16]


def with_pseudo_labels(
    recipe: Recipe, targets: np.ndarray, sources: np.ndarray, ids: np.ndarray, labels: tuple[str, ...], fold: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return targets with the fold's own predictions of pseudo-labelled rows, and the rows of which it is unsure.

    Args:
        targets: as the task has them, first axis N.
        sources: the table of each row, int (N,).

    Returns:
        Targets, float32 (N, O) where a file changes them, and rows to leave out, bool (N,).

    Raises:
        MissingFileError: there is no such file, or it lacks the fold or a row.
        MismatchError: it has other labels.
    """
    unsure, softened = np.zeros(len(ids), bool), False
    for number, extra in enumerate(recipe.table.extra, start=1):
        if extra.predictions is None:
            continue
        path, name = Path(extra.predictions), f"`table.extra.{number - 1}.predictions`"
        if not path.is_file():
            raise MissingFileError(f"{name}: {path} is missing; `imettk pseudo` writes it beside its csv")
        file = load_predictions(path)
        if file.values.get("kind") != "pseudo" or tuple(file.values["labels"]) != labels:
            raise MismatchError(
                f"{name}: {path} was not written by `imettk pseudo`, or has other labels than the table"
            )
        if fold not in file.values["folds"]:
            raise MissingFileError(f"{name}: {path} lacks fold {fold}, and has folds {file.values['folds']}")
        view = file.values["folds"].index(fold)
        place = {name: row for row, name in enumerate(file.ids.tolist())}
        rows = np.flatnonzero(sources == number)
        unknown = [row_id for row_id in ids[rows].tolist() if row_id not in place]
        if unknown:
            raise MissingFileError(f"{name}: {path} lacks {list_names(unknown, 'row')} of {extra.csv}")
        if extra.content and content_of(Path(extra.csv), path) != extra.content:
            raise MismatchError(
                f"{name}: {path} and its csv are other labels than those that this recipe learns: put them back, or "
                "give --pseudo with the folder that has them"
            )
        places = np.array([place[row_id] for row_id in ids[rows].tolist()], np.int64)
        unsure[rows] = ~np.array(file.values["sure"], bool)[view, places]
        if file.values.get("classes"):
            targets = targets.copy()
            targets[rows] = file.probs[view, places, 0].astype(np.int64)
            continue
        if not softened:
            soft = recipe.task.soft_answers(targets, recipe.task.num_outputs(len(labels)))
            targets, softened = soft.copy() if soft is targets else soft, True
        targets[rows] = file.probs[view, places]
    return targets, unsure
