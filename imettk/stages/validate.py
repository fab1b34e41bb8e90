"""`validate`: out-of-fold predictions with TTA, the decision rule, and honest scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from imettk.config import Recipe
from imettk.metrics import best_constant
from imettk.progress import say
from imettk.stages.shared import (
    Prepared,
    choose_compute,
    fit_rule,
    metric_name,
    predict_file,
    read_prepared,
    score,
    trained_folds,
)
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import RunDir


def validate(recipe: Recipe, data_dir: Path, run: RunDir, *, fold: int | None) -> None:
    """Write `oof.safetensors` of every trained fold (or one), `rule.json` and `scores.json`, and print the scores.

    Each fold is scored with a rule fitted on the other folds, so no row is judged by a threshold that has seen it; the
    rule that is kept is fitted on all rows.

    Raises:
        MissingFileError: no fold is trained.
    """
    prepared = read_prepared(recipe, data_dir, run)
    folds = trained_folds(run, fold)
    run.save_recipe(recipe)  # where the folder is a later kernel's input, this is what marks it
    probs = _out_of_fold(recipe, prepared, run, folds)
    covered = np.isin(prepared.folds, folds)
    rule = fit_rule(recipe, probs[covered], prepared.targets[covered], prepared.table.label_groups)
    scores = _honest_scores(recipe, prepared, probs, folds)
    write_json(run.path / "rule.json", rule.to_json())
    write_json(run.path / "scores.json", scores)
    if len(folds) < recipe.folds.num_folds:
        say(f"note: {len(folds)} of {recipe.folds.num_folds} folds are trained; the scores are theirs")
    if len(folds) == 1:
        say("note: with one fold the rule is fitted on the rows that it is scored on")
    for number, value in scores["folds"].items():
        say(f"  fold {number}   {scores['metric']} {value:.4f}")
    say(f"  OOF      {scores['metric']} {scores['oof']:.4f}   (best constant answer {scores['constant']:.4f})")


def _out_of_fold(recipe: Recipe, prepared: Prepared, run: RunDir, folds: list[int]) -> np.ndarray:
    """Each row by the fold that has not trained on it, probabilities float32 (N, C); 0 where that fold is missing."""
    compute = choose_compute(recipe)
    table = prepared.table
    probs = np.zeros((len(table), len(table.labels)), np.float32)
    for fold in folds:
        rows, path = prepared.rows(fold, valid=True), run.fold(fold) / "oof.safetensors"
        predictions = predict_file(
            path, run.model(fold), table, prepared.source, rows, recipe, compute, what=f"fold {fold} oof"
        )
        probs[rows] = predictions.mean_probs
    return probs


def _honest_scores(recipe: Recipe, prepared: Prepared, probs: np.ndarray, folds: list[int]) -> dict[str, Any]:
    """What goes into `scores.json`: each fold judged by a rule that the other folds gave, where there are others."""
    covered = np.isin(prepared.folds, folds)
    targets = prepared.targets
    by_fold: dict[str, float] = {}
    answers, truths = [], []
    for fold in folds:
        rows = prepared.rows(fold, valid=True)
        others = covered & (prepared.folds != fold) if len(folds) > 1 else covered
        rule = fit_rule(recipe, probs[others], targets[others], prepared.table.label_groups)
        answers.append(rule.apply(probs[rows]))
        truths.append(targets[rows])
        by_fold[str(fold)] = score(recipe, answers[-1], truths[-1])
    return {
        "metric": metric_name(recipe),
        "folds": by_fold,
        "oof": score(recipe, np.concatenate(answers), np.concatenate(truths)),
        "constant": best_constant(targets[covered], beta=recipe.rule.beta)[1],
        "rows": int(covered.sum()),
        "rule_fitted_on_other_folds": len(folds) > 1,
    }
