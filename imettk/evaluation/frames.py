"""Predictions and embeddings of a run folder as data frames with named columns.

run folder -> oof_frame: id, fold, a column a label, truth    test_frame: id, a column a label
              embedding_frame: id, fold, e0, e1, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd

from imettk.config import Recipe
from imettk.data.csv_files import list_names
from imettk.errors import MismatchError, MissingFileError
from imettk.evaluation.members import FOLDS
from imettk.evaluation.run_tables import fold_frame
from imettk.experiment.imported import imported_folds
from imettk.inference.predictor import Predictions, load_predictions, mean_of_folds
from imettk.tasks import Task
from imettk.tracking.files import sha256
from imettk.tracking.run_dir import RunDir

Kind = Literal["oof", "test", "gallery"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WRITTEN_BY = {"oof": "validate", "test": "infer", "gallery": "validate"}
ID, FOLD, TRUTH, ANSWER = "id", "fold", "truth", "answer"


def label_columns(labels: Sequence[str]) -> list[str]:
    """Return the column of each label: its own name, or `label:NAME` if that would be taken for another column."""
    return [f"label:{name}" if _is_reserved(name) else name for name in labels]


def _is_reserved(name: str) -> bool:
    return name in (ID, FOLD, TRUTH, ANSWER) or name.startswith((f"{TRUTH}:", "label:"))


def truth_columns(task: Task, targets: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the true answers of rows: `truth` for tasks with one label a row, otherwise `truth:LABEL` for each label.

    Args:
        targets: in the form of the task, first axis N; an unknown identity becomes an empty cell.
        labels: raw names, (C,).
    """
    if task.exclusive and not task.numbered:
        return {TRUTH: np.array([*labels, None], object)[targets]}
    return {f"{TRUTH}:{name}": targets[:, column] for column, name in enumerate(labels)}


def oof_frame(recipe: Recipe, run: RunDir) -> pd.DataFrame:
    """Return out-of-fold predictions: `id`, `fold`, a column for each label, and the truth.

    Views of TTA are merged as `validate` merges them. A column holds a label's probability, or a target's value in the
    table's own unit. Rows come in the order of `folds.csv`.

    Raises:
        MissingFileError: `validate` has not written them.
        MismatchError: files do not belong together, or hold embeddings alone.
    """
    parts = _read(run, "oof")
    ids, folds = _ids_and_folds(parts)
    order = _table_order(run, ids, folds)
    values, targets = (np.concatenate(arrays) for arrays in zip(*map(_values_and_targets, parts.values()), strict=True))
    labels = _labels_of(parts)
    truth = truth_columns(recipe.task, targets[order], labels)
    return _frame(recipe.task, {ID: ids[order], FOLD: folds[order]}, values[order], labels, truth)


def test_frame(recipe: Recipe, run: RunDir) -> pd.DataFrame:
    """Return test predictions: `id`, and a column for each label with the mean over folds, as `infer` answers it.

    Raises:
        MissingFileError: `infer` has not written them.
        MismatchError: files do not belong together, or hold embeddings alone.
    """
    parts = _read(run, "test")
    first, *others = parts.values()
    if any(not np.array_equal(part.ids, first.ids) for part in others):
        raise MismatchError(f"{run.path}: folds have predicted different test rows: run `imettk infer` again")
    return _frame(recipe.task, {ID: first.ids}, mean_of_folds(parts.values()), _labels_of(parts))


def embedding_frame(run: RunDir, kind: Kind) -> pd.DataFrame:
    """Return embeddings of unit norm: `id`, `fold`, and the columns `e0`, `e1`, ...; NaN for unreadable images.

    `fold` is that of the model that made them. Embeddings of different folds share no coordinates: only those of the
    same `fold` may be compared. Test and gallery rows therefore come once a fold.

    Args:
        kind: `oof`, `test`, or `gallery` for the rows that a fold's queries are compared with.

    Raises:
        MissingFileError: no command has written them.
        MismatchError: the model has no embeddings, or files do not belong together.
    """
    parts = _read(run, kind)
    if any(part.embeddings is None for part in parts.values()):
        raise MismatchError(f"{run.path} holds no embeddings: its model learns none")
    ids, folds = _ids_and_folds(parts)
    values = np.concatenate([part.merged_embeddings for part in parts.values()])
    columns = [f"e{column}" for column in range(values.shape[1])]
    return _join({ID: ids, FOLD: folds}, pd.DataFrame(values, columns=columns))


def _read(run: RunDir, kind: Kind) -> dict[int, Predictions]:
    """Read the predictions of each fold; those of an ensemble, which has no folds, are all under -1."""
    parts, imported = {}, imported_folds(run)
    for fold, path in run.fold_files(f"{kind}.safetensors").items():
        parts[fold] = load_predictions(path)
        # A model among the inputs has not made what was imported with its folds.
        model = None if fold in imported else run.find_optional(f"fold{fold}/model.safetensors")
        if model is not None and parts[fold].values.get("model") not in (None, sha256(model)):
            raise MismatchError(f"{path} is not of {model}: run `imettk {WRITTEN_BY[kind]}` again")
    if not parts and (whole := run.find_optional(f"{kind}.safetensors")) is not None:
        return {-1: load_predictions(whole)}
    if not parts:
        raise MissingFileError(
            f"{run.path} holds no fold*/{kind}.safetensors: run `imettk {WRITTEN_BY[kind]}` first, which writes it"
        )
    if len({tuple(part.values["labels"]) for part in parts.values()}) > 1:
        raise MismatchError(f"{run.path}: folds know different labels: run `imettk {WRITTEN_BY[kind]}` again")
    return parts


def _labels_of(parts: dict[int, Predictions]) -> list[str]:
    return list(next(iter(parts.values())).values["labels"])


def _ids_and_folds(parts: dict[int, Predictions]) -> tuple[np.ndarray, np.ndarray]:
    """Return the id and the fold of each row, str and int64 (N,)."""
    ids = np.concatenate([part.ids for part in parts.values()])
    whole = parts.get(-1)
    if whole is None:
        return ids, np.repeat(list(parts), [len(part.ids) for part in parts.values()])
    if FOLDS not in whole.values:
        raise MismatchError("the ensemble was made by an older version, which kept no folds: run it again")
    return ids, np.array(whole.values[FOLDS], np.int64)


def _values_and_targets(part: Predictions) -> tuple[np.ndarray, np.ndarray]:
    if part.targets is None:
        raise MismatchError("the predictions were written by an older version: run `imettk validate` again")
    return part.merged, part.targets


def _table_order(run: RunDir, ids: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return the order in which rows stand in `folds.csv`, int64 (N,); their own without that file.

    Raises:
        MismatchError: a row has another fold there, as after `prepare` has made other folds.
    """
    if run.find_optional("folds.csv") is None:
        return np.arange(len(ids))
    prepared = fold_frame(run)
    places = pd.Index(prepared[ID]).get_indexer(pd.Index(ids))
    differ = (places < 0) | (prepared[FOLD].to_numpy()[places] != folds)
    if differ.any():
        raise MismatchError(
            f"{run.path}: {list_names(ids[differ], 'row')} predicted in another fold than folds.csv has: run `imettk "
            "train` and `imettk validate` again in a new --run-dir"
        )
    return np.argsort(places)


def _frame(
    task: Task,
    first: dict[str, np.ndarray],
    outputs: np.ndarray,
    labels: Sequence[str],
    last: dict[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """Return columns, then those of the labels, then others.

    Args:
        outputs: of the network, float32 (N, O).
    """
    if not outputs.shape[1]:
        raise MismatchError(
            "the recipe ranks by neighbours, so its predictions are embeddings, without a column for each label"
        )
    return _join(first, label_frame(task, outputs, labels), last or {})


def label_frame(task: Task, outputs: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """Return a column for each label with its probability, or for each target with its value.

    Args:
        outputs: of the network, float32 (N, O).
        labels: raw names, (C,).
    """
    if outputs.shape[1] != len(labels):
        # In float64 the differences of cumulative probabilities lose nothing: `import` gets the same outputs back.
        outputs = task.label_probs(outputs.astype(np.float64))
    return pd.DataFrame(outputs, columns=label_columns(labels))


def _join(
    first: dict[str, np.ndarray], values: pd.DataFrame, last: dict[str, np.ndarray] | None = None
) -> pd.DataFrame:
    # In one go: thousands of columns inserted one by one would be as many blocks in memory.
    return pd.concat([pd.DataFrame(first), values, pd.DataFrame(last or {}, index=values.index)], axis=1)
