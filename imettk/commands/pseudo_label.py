"""`pseudo`: test images with sure predictions as more rows to train on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import ExtraTable, Recipe
from imettk.errors import ConfigError, MismatchError, MissingFileError
from imettk.evaluation.embeddings import read_fold_files
from imettk.evaluation.members import TEST
from imettk.experiment.rule_file import read_rule
from imettk.files import write_atomically
from imettk.inference.predictor import Predictions, load_predictions, save_predictions
from imettk.inference.retrieval import find_neighbours
from imettk.postprocess.pseudo import rank_confidence, row_confidence
from imettk.postprocess.rule import Rule
from imettk.progress import say
from imettk.tracking.run_dir import RunDir

PSEUDO_CSV, PSEUDO = "pseudo.csv", "pseudo.safetensors"


def pseudo(recipe: Recipe, run: RunDir, *, confidence: float, hard: bool = False) -> None:
    """Write `pseudo.csv`, in the format of the training table, and `pseudo.safetensors`, what each fold is to learn.

    The predictions of a fold come from the models that have not seen its validation rows, and so does the choice of the
    rows: a validation score stays what it is. The csv holds every row that any fold is sure of, with the labels that
    most of these folds give it.

    Args:
        confidence: see `row_confidence` and `rank_confidence`; in [0.5, 1). Where neighbours decide, similarity to the
            nearest image.
        hard: learn the answers, as is always done where neighbours decide; else the probabilities.

    Raises:
        ConfigError: the confidence is out of range, or the rule has no thresholds to be far from.
        MissingFileError: no fold has predicted the test set, or there is no rule.
    """
    if not 0.5 <= confidence < 1:
        raise ConfigError(f"--confidence must be in [0.5, 1), got {confidence:g}")
    if recipe.rule.kind == "rank" and recipe.ranking.by == "neighbours":
        pseudo_identities(recipe, run, similarity=confidence)
        return
    folds, files = _read_folds(run)
    ranks = recipe.rule.kind == "rank"
    rule = Rule("argmax") if ranks else Rule.from_json(read_rule(run, recipe, files[0].values["labels"], folds))
    by_rank = rule.kind == "threshold" and min(rule.thresholds, default=0) > 1  # no probability reaches any of them
    if rule.relative:
        raise ConfigError("pseudo labels need a rule with thresholds on probabilities: set --rule.relative False")
    if by_rank and rule.min_labels == 0:
        raise ConfigError(f"the rule of {run.path} gives no row any label, so there is nothing to be sure of")
    ids, labels = files[0].ids, tuple(files[0].values["labels"])
    targets, levels = [], []
    for one in files:
        probs = one.merged
        chosen = rule.apply(probs)
        thresholds = None if rule.kind == "argmax" else rule.thresholds_for(probs)
        levels.append(rank_confidence(probs, rule.min_labels) if by_rank else row_confidence(probs, thresholds))
        answers = np.eye(len(labels), dtype=np.float32)[chosen] if chosen.ndim == 1 else chosen.astype(np.float32)
        targets.append(answers if hard else probs)
    sure = np.array(levels) >= confidence
    rows = np.flatnonzero(sure.any(0))
    cells = _cells(files, rule, sure, rows, labels, recipe) if len(rows) else []
    values = {"labels": list(labels), "folds": folds, "kind": "pseudo", "sure": sure[:, rows].tolist()}
    found = Predictions(ids[rows], np.stack(targets)[:, rows], values)
    _write(recipe, run, cells, found, np.max(levels, axis=0), confidence)


def pseudo_identities(recipe: Recipe, run: RunDir, *, similarity: float) -> None:
    """The same for rows whose nearest image of known identity, among those that a fold trains on, is near enough.

    Raises:
        MissingFileError: the test set has not been embedded.
    """
    files = read_fold_files(run.path, run.inputs)
    answers, levels, ids, labels = [], [], np.zeros(0, np.str_), []
    for fold, one in files.items():
        if one.test is None or one.gallery.targets is None:
            raise MissingFileError(f"{run.path} holds no fold{fold}/{TEST}: run `imettk infer` first, which writes it")
        order = np.argsort(one.test.ids)
        ids, labels = one.test.ids[order], one.test.values["labels"]
        gallery = one.gallery.merged_embeddings[one.gallery.targets >= 0]
        near = find_neighbours(one.test.merged_embeddings[order], gallery, 1)
        named = one.gallery.targets[one.gallery.targets >= 0][near.rows[:, 0]]
        levels.append(near.similarities[:, 0])
        answers.append(np.where(levels[-1] >= similarity, named, -1))
    each = np.stack(answers)  # (folds, N), -1 where a fold is not sure
    rows = np.flatnonzero((each >= 0).any(0))
    cells = [labels[np.bincount(column[column >= 0]).argmax()] for column in each[:, rows].T]
    values = {
        "labels": labels,
        "folds": list(files),
        "kind": "pseudo",
        "classes": True,  # the numbers of labels stand in place of probabilities
        "sure": (each[:, rows] >= 0).tolist(),
    }
    classes = each[:, rows, None].astype(np.float32)
    _write(recipe, run, cells, Predictions(ids[rows], classes, values), np.max(levels, axis=0), similarity)


def _write(
    recipe: Recipe, run: RunDir, cells: list[str], found: Predictions, levels: np.ndarray, confidence: float
) -> None:
    """The csv and the file beside it; `ConfigError` where no row is sure.

    Args:
        levels: how sure the surest fold is of each test row, float (N,).
    """
    if not len(levels):
        raise ConfigError(f"the test set that {run.path} has predicted is empty: there is no row to be sure of")
    if not cells:
        raise ConfigError(
            f"no test row is as sure as {confidence:g} in any fold: lower --confidence; a tenth of the rows is as sure "
            f"as {np.quantile(levels, 0.9):.3g}, half of them as {np.median(levels):.3g}"
        )
    frame = pd.DataFrame({recipe.table.id_column: found.ids, recipe.table.label_column: cells})
    run.path.mkdir(parents=True, exist_ok=True)
    write_atomically(run.path / PSEUDO_CSV, frame.to_csv(index=False).encode())
    save_predictions(run.path / PSEUDO, found)
    sure = zip(found.values["folds"], found.values["sure"], strict=True)
    counts = ", ".join(f"fold {fold}: {sum(each)}" for fold, each in sure)
    say(f"{run.path / PSEUDO_CSV}: {len(cells)} of {len(levels)} test rows are sure ({counts})")
    say(f"train on them in a new --run-dir, which begins with `imettk prepare RECIPE --pseudo {run.path}`")


def add_pseudo_table(recipe: Recipe, folder: Path, weight: float) -> Recipe:
    """The recipe with what `pseudo` wrote in this folder as one more table.

    Raises:
        MissingFileError: there is nothing.
    """
    for name in (PSEUDO_CSV, PSEUDO):
        if not (folder / name).is_file():
            raise MissingFileError(f"--pseudo: {folder / name} is missing: run `imettk pseudo` first, which writes it")
    folder = folder.absolute()
    extra = ExtraTable(
        csv=str(folder / PSEUDO_CSV),
        images=recipe.table.test_images,
        weight=weight,
        predictions=str(folder / PSEUDO),
    )
    others = tuple(one for one in recipe.table.extra if one.predictions != extra.predictions)  # said a second time
    return replace(recipe, table=replace(recipe.table, extra=(*others, extra)))


def _read_folds(run: RunDir) -> tuple[list[int], list[Predictions]]:
    """Test predictions of every fold that has some, of the same rows and labels."""
    folds = [fold for fold in run.trained_folds() if run.find_optional(f"fold{fold}/{TEST}") is not None]
    if not folds:
        raise MissingFileError(f"{run.path} holds no fold*/{TEST}: run `imettk infer` first, which writes it")
    files = [load_predictions(run.find(f"fold{fold}/{TEST}", written_by="infer")) for fold in folds]
    for fold, one in zip(folds, files, strict=True):
        if not np.array_equal(one.ids, files[0].ids) or one.values["labels"] != files[0].values["labels"]:
            raise MismatchError(f"fold{fold}/{TEST} is of other rows or labels than fold{folds[0]}'s: `infer` again")
    return folds, files


def _cells(
    files: list[Predictions], rule: Rule, sure: np.ndarray, rows: np.ndarray, labels: tuple[str, ...], recipe: Recipe
) -> list[str]:
    """The answer to the mean of the folds that are sure of a row, as text."""
    weights = sure[:, rows].astype(np.float32)
    mean = sum(weight[:, None] * one.merged[rows] for weight, one in zip(weights, files, strict=True))
    answers = rule.apply(np.asarray(mean) / weights.sum(0)[:, None])
    if answers.ndim == 1:
        return [labels[answer] for answer in answers]
    return [recipe.table.label_separator.join(labels[label] for label in np.flatnonzero(row)) for row in answers]
