"""Pseudo labels: test rows of which models are sure, as rows to train on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.data.label_cells import as_table
from imettk.errors import ConfigError, MismatchError, MissingFileError
from imettk.evaluation.embeddings import read_fold_files
from imettk.evaluation.members import OOF, TEST
from imettk.evaluation.pseudo_choice import choose_selections, require_other_folds, rules_of_others
from imettk.evaluation.rules import rule_from_json
from imettk.experiment.rule_file import read_rule
from imettk.files import write_atomically
from imettk.inference.predictor import Predictions, load_predictions, save_predictions
from imettk.inference.retrieval import find_neighbours
from imettk.postprocess.pseudo import CONFIDENCE, Selection, agreement
from imettk.postprocess.rule import Likeliest, Rule
from imettk.progress import say
from imettk.tracking.run_dir import RunDir

PSEUDO_CSV, PSEUDO = "pseudo.csv", "pseudo.safetensors"
POWER_OF_NUMBERS = "--power is of probabilities, and this recipe predicts numbers: leave it out"


def check_selection(recipe: Recipe, selection: Selection, folds: Sequence[int]) -> None:
    """Raise `ConfigError` if no rows can be chosen like this, whatever the models of these folds predict."""
    if recipe.table.has_units:
        raise ConfigError(
            "pseudo labels are of images, and this recipe answers units of several: there are none for it"
        )
    if recipe.task.numeric and selection.power not in (1, None) and not selection.hard:
        raise ConfigError(POWER_OF_NUMBERS)
    if recipe.task.numeric and len(folds) < 2:
        raise ConfigError(
            f"numbers are sure where models of several folds agree, and only fold {folds[0]} is trained: train another"
        )
    if selection.is_open:
        require_other_folds(folds)


def check_neighbours(recipe: Recipe, selection: Selection, folds: Sequence[int]) -> None:
    """Raise `ConfigError` if the rows would be chosen by probabilities, as neighbours answer."""
    if selection.share is not None or selection.power not in (1, None):
        raise ConfigError("--share and --power are of probabilities, and here neighbours answer: give --confidence")


def pseudo_by_rule(recipe: Recipe, run: RunDir, selection: Selection, *, out: Path | None = None) -> None:
    """Write the answers of the rule that `validate` fitted, where it is sure.

    Args:
        out: the folder for them; None is the run folder.
    """
    folds, files = _read_folds(run)
    content = read_rule(run, recipe, files[0].values["labels"], folds)
    _keep_sure(recipe, run, rule_from_json(recipe, content), selection, out)


def pseudo_classes(recipe: Recipe, run: RunDir, selection: Selection, *, out: Path | None = None) -> None:
    """Write the most likely class of rows of which a classifier is sure, even if neighbours rank the answers."""
    _keep_sure(recipe, run, Likeliest(), selection, out)


def _keep_sure(recipe: Recipe, run: RunDir, rule: Rule, selection: Selection, out: Path | None) -> None:
    folds, files = _read_folds(run)
    ids, labels = files[0].ids, tuple(files[0].values["labels"])
    probs = np.stack([predictions.merged for predictions in files])
    chosen = [(selection, rule)] * len(folds)
    if selection.is_open:
        chosen = choose_selections(recipe, run, rule, folds, selection)
    elif selection.hard or out is not None:  # without either, rule.json decides: earlier labels are made again the same
        chosen = [(selection, of_fold) for of_fold in rules_of_others(recipe, run, rule, folds)]
    levels = _levels(run, [of_fold for _, of_fold in chosen], probs, folds)
    groups = tuple(files[0].values.get("label_groups", ()))
    parts = list(zip(chosen, probs, levels, strict=True))
    sure = np.stack([picked.take(level, _likeliest(recipe, part)) for (picked, _), part, level in parts])
    targets = np.stack([_targets(recipe, of_fold, part, picked, groups) for (picked, of_fold), part, _ in parts])
    rows = np.flatnonzero(sure.any(0))
    cells = _cells(files, rule, sure, rows, labels, recipe) if len(rows) else []
    values = {"labels": list(labels), "folds": folds, "kind": "pseudo", "sure": sure[:, rows].tolist()}
    predictions = Predictions(ids[rows], targets[:, rows], values)
    least = min(picked.confidence or 0.0 for picked, _ in chosen)
    _write(recipe, run, cells, predictions, levels=levels.max(0), confidence=least, out=out)


def _likeliest(recipe: Recipe, probs: np.ndarray) -> np.ndarray:
    """Return the likeliest label of each row, int64 (N,); numbers are of one kind."""
    return np.zeros(len(probs), np.int64) if recipe.task.numeric else recipe.task.label_probs(probs).argmax(1)


def _targets(
    recipe: Recipe, rule: Rule, probs: np.ndarray, selection: Selection, label_groups: tuple[str, ...]
) -> np.ndarray:
    """Return what a fold learns of its own predictions, float (N, O)."""
    if selection.hard:
        return recipe.task.soft_answers(rule.decisions(rule.apply(probs)), probs.shape[1])
    if selection.power in (1, None):
        return probs
    if recipe.task.numeric:
        raise ConfigError(POWER_OF_NUMBERS)
    return recipe.task.sharpen(probs, selection.power, label_groups)


def _levels(run: RunDir, rules: list[Rule], probs: np.ndarray, folds: list[int]) -> np.ndarray:
    """Return how sure each fold is of each row, float (F, N), from predictions (F, N, O).

    Args:
        rules: of the folds, (F,).

    Raises:
        ConfigError: the rule knows no doubt, or a single fold has none to agree with.
    """
    if not rules[0].sure_by_agreement:
        try:
            return np.stack([rule.confidence(of_fold) for rule, of_fold in zip(rules, probs, strict=True)])
        except ConfigError as error:
            raise ConfigError(f"{run.path}: {error}") from None
    if len(folds) < 2:
        raise ConfigError(
            f"{run.path}: numbers are sure where models of several folds agree, and only fold {folds[0]} has predicted "
            "the test set: train another"
        )
    known = [load_predictions(run.find(f"fold{fold}/{OOF}", written_by="validate")).targets for fold in folds]
    spread = np.concatenate([targets for targets in known if targets is not None]).std(0, dtype=np.float64)
    return np.tile(agreement(probs, spread), (len(folds), 1))


def pseudo_identities(recipe: Recipe, run: RunDir, selection: Selection, *, out: Path | None = None) -> None:
    """Write rows whose nearest image of known identity, among those that a fold trains on, is near enough.

    Raises:
        MissingFileError: the test set has not been embedded.
    """
    similarity = CONFIDENCE if selection.confidence is None else selection.confidence
    files = read_fold_files(run.path, run.inputs)
    answers, levels, ids, labels = [], [], np.zeros(0, np.str_), []
    for fold, file in files.items():
        if file.test is None or file.gallery.targets is None:
            raise MissingFileError(f"{run.path} holds no fold{fold}/{TEST}: run `imettk infer` first, which writes it")
        order = np.argsort(file.test.ids)
        ids, labels = file.test.ids[order], file.test.values["labels"]
        known = file.gallery.targets >= 0
        near = find_neighbours(file.test.merged_embeddings[order], file.gallery.merged_embeddings[known], 1)
        levels.append(near.similarities[:, 0])
        answers.append(np.where(levels[-1] >= similarity, file.gallery.targets[known][near.rows[:, 0]], -1))
    by_fold = np.stack(answers)  # (folds, N), -1 where a fold is not sure
    rows = np.flatnonzero((by_fold >= 0).any(0))
    cells = [[labels[np.bincount(column[column >= 0]).argmax()]] for column in by_fold[:, rows].T]
    values = {
        "labels": labels,
        "folds": list(files),
        "kind": "pseudo",
        "classes": True,  # the numbers of labels stand in place of probabilities
        "sure": (by_fold[:, rows] >= 0).tolist(),
    }
    classes = by_fold[:, rows, None].astype(np.float32)
    best = np.max(levels, axis=0)
    _write(recipe, run, cells, Predictions(ids[rows], classes, values), levels=best, confidence=similarity, out=out)


def _write(
    recipe: Recipe,
    run: RunDir,
    cells: list[list[str]],
    found: Predictions,
    *,
    levels: np.ndarray,
    confidence: float,
    out: Path | None,
) -> None:
    """Write the csv and the file beside it; raise `ConfigError` if no row is sure.

    Args:
        levels: how sure the surest fold is of each test row, float (N,).
        out: the folder for both; None is the run folder.
    """
    if not len(levels):
        raise ConfigError(f"the test set that {run.path} has predicted is empty: there is no row to be sure of")
    if not cells:
        raise ConfigError(
            f"no test row is as sure as {confidence:g} in any fold: lower --confidence; a tenth of the rows is as sure "
            f"as {np.quantile(levels, 0.9):.3g}, half of them as {np.median(levels):.3g}"
        )
    frame = as_table(found.ids.tolist(), cells, recipe.table)
    folder = run.path if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PSEUDO_CSV, frame.to_csv(index=False).encode())
    save_predictions(folder / PSEUDO, found)  # last: whoever finds it has both
    sure = zip(found.values["folds"], found.values["sure"], strict=True)
    counts = ", ".join(f"fold {fold}: {sum(rows)}" for fold, rows in sure)
    say(f"{folder / PSEUDO_CSV}: {len(cells)} of {len(levels)} test rows are sure ({counts})")


def _read_folds(run: RunDir) -> tuple[list[int], list[Predictions]]:
    """Return the test predictions of every fold that has some, all of the same rows and labels."""
    folds = [fold for fold in run.trained_folds() if run.find_optional(f"fold{fold}/{TEST}") is not None]
    if not folds:
        raise MissingFileError(f"{run.path} holds no fold*/{TEST}: run `imettk infer` first, which writes it")
    files = [load_predictions(run.find(f"fold{fold}/{TEST}", written_by="infer")) for fold in folds]
    for fold, file in zip(folds, files, strict=True):
        if not np.array_equal(file.ids, files[0].ids) or file.values["labels"] != files[0].values["labels"]:
            raise MismatchError(f"fold{fold}/{TEST} has other rows or labels than fold{folds[0]}'s: `infer` again")
    return folds, files


def _cells(
    files: list[Predictions], rule: Rule, sure: np.ndarray, rows: np.ndarray, labels: tuple[str, ...], recipe: Recipe
) -> list[list[str]]:
    """Return the labels of the mean prediction of those folds that are sure of a row."""
    # All rows are answered, as shares count all of them; a row of which no fold is sure takes the mean of all folds.
    weights = np.where(sure.any(0), sure, True).astype(np.float32)
    mean = sum(weight[:, None] * file.merged for weight, file in zip(weights, files, strict=True))
    answers = rule.decisions(rule.apply(np.asarray(mean) / weights.sum(0)[:, None]))[rows]
    return recipe.task.cells(answers, labels)
