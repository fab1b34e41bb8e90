"""Predictions of another tool in a run folder: they stand in for those of trained models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from imettk.errors import MismatchError, MissingFileError
from imettk.experiment.prepared import ImageRows, trained_folds
from imettk.inference.predictor import Predictions, load_predictions, save_predictions
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import read_values

IMPORTED = "imported"  # in the values of a prediction file: the file that it comes from
OOF, TEST = "oof", "test"


def imported_folds(run: RunDir) -> list[int]:
    """Return the folds whose out-of-fold predictions another tool has made."""
    return [fold for fold, path in run.fold_files(f"{OOF}.safetensors").items() if _is_imported(path)]


def _is_imported(oof: Path) -> bool:
    return not oof.with_name("model.safetensors").is_file() and IMPORTED in read_values(oof)


def predicted_folds(run: RunDir, fold: int | None) -> list[int]:
    """Return the folds that another tool has predicted, or else the trained ones; or only this one.

    Raises:
        MissingFileError: there is none.
    """
    folds = [number for number in imported_folds(run) if fold in (None, number)]
    return folds or trained_folds(run, fold)


def read_imported(run: RunDir, fold: int, name: str, images: ImageRows) -> Predictions | None:
    """Return a fold's imported predictions of these images; None if its model is to predict them.

    Raises:
        MissingFileError: there are imported ones of other images only.
        MismatchError: the table's rows, labels or targets have changed since.
    """
    oof = run.fold_files(f"{OOF}.safetensors").get(fold)
    if oof is None or not _is_imported(oof):
        return None
    path = oof.with_name(f"{name}.safetensors")
    if not path.is_file():
        raise MissingFileError(f"{path} is missing: the predictions were imported without it; `imettk import --test`")
    predictions, targets = load_predictions(path), images.targets
    same = np.array_equal(predictions.ids, images.ids) and predictions.values["labels"] == list(images.table.labels)
    if targets is not None:
        same = same and predictions.targets is not None and np.array_equal(predictions.targets, targets)
    if not same:
        raise MismatchError(f"{path} was imported for other rows or labels than the tables have: `imettk import` again")
    return predictions


def save_imported(run: RunDir, parts: Mapping[int, Predictions], test: Predictions | None) -> None:
    """Write the out-of-fold predictions of each fold, and beside each those of the test set; earlier ones are removed.

    Raises:
        MismatchError: the run folder holds a training or an ensemble, whose predictions these are not.
    """
    if run.has_training():
        raise MismatchError(f"{run.path} holds a training of imettk: import into another --run-dir")
    if (run.path / f"{OOF}.safetensors").is_file():
        raise MismatchError(f"{run.path} holds an ensemble: import into another --run-dir")
    for fold in imported_folds(RunDir(run.path)):  # a fold or a test set left of them would be taken for new
        for name in (OOF, TEST):
            (run.fold(fold) / f"{name}.safetensors").unlink(missing_ok=True)
    for fold, predictions in parts.items():
        if test is not None:  # first: without the other file it counts for nothing
            save_predictions(run.fold(fold) / f"{TEST}.safetensors", test)
        save_predictions(run.fold(fold) / f"{OOF}.safetensors", predictions)
