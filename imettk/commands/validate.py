"""`validate`: out-of-fold predictions with TTA, the decision rule, and honest scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from imettk.commands.write_report import keep_report
from imettk.config import Recipe
from imettk.errors import ConfigError
from imettk.evaluation.evidence import keep_errors, keep_threshold_curve
from imettk.evaluation.identities import validate_ranking
from imettk.evaluation.rules import RuleFitter, score
from imettk.evaluation.scoring import count_test_rows, honest_scores, tell_scores, write_label_table
from imettk.experiment.groups import row_groups
from imettk.experiment.predictions import predict_file
from imettk.experiment.prepared import Prepared, choose_compute, read_prepared, require_same_data, trained_folds
from imettk.experiment.rule_file import keep_rule
from imettk.inference.predictor import Predictions
from imettk.progress import say
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import LABEL_SCORES, RunDir
from imettk.tracking.tensors import read_values


def validate(recipe: Recipe, data_dir: Path, run: RunDir, *, fold: int | None) -> None:
    """Write `oof.safetensors` of every trained fold (or one), `rule.json` and `scores.json`, and print the scores.

    Each fold is scored with a rule fitted on the other folds, so no row is judged by a threshold that has seen it; the
    rule that is kept is fitted on all rows.

    Raises:
        MissingFileError: no fold is trained.
    """
    prepared = read_prepared(recipe, data_dir, run)
    # Here alone: no other stage asks for the groups, and a large table takes half a second.
    prepared = replace(prepared, table=replace(prepared.table, groups=row_groups(prepared.table, run)))
    folds = trained_folds(run, fold)
    for number in folds:
        require_same_data(str(run.model(number)), read_values(run.model(number)), prepared.identity)
    run.save_recipe(recipe)  # where the folder is a later kernel's input, this is what marks it
    if not np.isin(prepared.folds, folds).any():
        raise ConfigError(
            "no row is validated: with `folds.scheme` none all rows train; `imettk infer` is what follows"
        )
    if recipe.rule.kind == "rank":
        fitted = validate_ranking(recipe, prepared, run, folds)
        _tell_folds(recipe, folds, fitted=fitted)
        keep_report(run)
        return
    predictions = _out_of_fold(recipe, prepared, run, folds)
    rows = np.flatnonzero(np.isin(prepared.folds, folds))
    table, oof = prepared.table.take(rows), _collect(prepared, {fold: one.merged for fold, one in predictions.items()})
    assert table.targets is not None
    fitter = RuleFitter(recipe, table.label_groups, prepared.given_shares)
    rule = fitter.fit(oof, table.targets, prepared.folds[rows])
    scores, answers = honest_scores(
        recipe,
        fitter,
        oof,
        table.targets,
        prepared.folds[rows],
        groups=table.groups,
        num_test=count_test_rows(recipe, data_dir),
    )
    if len(recipe.predict.views) > 1:
        scores["views"] = _view_scores(recipe, prepared, fitter, predictions, oof, table.targets)
    keep_rule(run, rule.to_json(), recipe, table.labels, folds)
    write_json(run.path / "scores.json", scores)
    path = run.path / LABEL_SCORES
    write_label_table(path, recipe, fitter, rule, table, oof, answers)
    say(f"{path} and .png: what each label scores, its threshold and share")
    if recipe.table.task == "multilabel":
        keep_threshold_curve(recipe, run, rule, oof, table.targets)
    keep_errors(recipe, run, table, prepared.source, rows, oof, answers)
    _tell_folds(recipe, folds, fitted=True)
    tell_scores(scores)
    keep_report(run)


def _tell_folds(recipe: Recipe, folds: list[int], *, fitted: bool) -> None:
    """Say what the scores do not cover; `fitted` where a rule was fitted on the rows."""
    if len(folds) < recipe.folds.num_folds:
        say(f"note: {len(folds)} of {recipe.folds.num_folds} folds are trained; the scores are theirs")
    if len(folds) == 1 and fitted:
        say("note: with one fold the rule is fitted on the rows that it is scored on")


def _out_of_fold(recipe: Recipe, prepared: Prepared, run: RunDir, folds: list[int]) -> dict[int, Predictions]:
    """Each fold's predictions of the rows that it has not trained on."""
    compute, table = choose_compute(recipe), prepared.table
    return {
        fold: predict_file(run, fold, "oof", table, prepared.source, prepared.rows(fold, valid=True), recipe, compute)
        for fold in folds
    }


def _collect(prepared: Prepared, parts: dict[int, np.ndarray]) -> np.ndarray:
    """Probabilities of some folds' rows, (M, C) each, in the order of the table, (N, C)."""
    rows = np.concatenate([prepared.rows(fold, valid=True) for fold in parts])
    return np.concatenate(list(parts.values()))[np.argsort(rows, kind="stable")]


def _view_scores(
    recipe: Recipe,
    prepared: Prepared,
    fitter: RuleFitter,
    predictions: dict[int, Predictions],
    together: np.ndarray,
    targets: np.ndarray,
) -> dict[str, float]:
    """What each view scores alone, and all `together`, each by a quick rule that was fitted on the same rows: only the
    differences count."""
    scores: dict[str, float] = {}
    for number, view in enumerate(recipe.predict.views):
        alone = _collect(prepared, {fold: one.probs[number] for fold, one in predictions.items()})
        scores[view] = score(recipe, fitter.fit_quickly(alone, targets).apply(alone), targets)
    scores["together"] = score(recipe, fitter.fit_quickly(together, targets).apply(together), targets)
    return scores
