"""`validate`: out-of-fold predictions with TTA, the decision rule, and honest scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.errors import ConfigError
from imettk.progress import say
from imettk.stages.ranking import validate_ranking
from imettk.stages.rules import RuleFitter
from imettk.stages.scoring import count_test_rows, honest_scores, tell_scores, write_label_table
from imettk.stages.shared import Prepared, choose_compute, predict_file, read_prepared, trained_folds
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import LABEL_SCORES, RunDir


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
    if not np.isin(prepared.folds, folds).any():
        raise ConfigError(
            "no row is validated: with `folds.scheme` none all rows train; `imettk infer` is what follows"
        )
    if recipe.rule.kind == "rank":
        validate_ranking(recipe, prepared, run, folds)
        return
    probs = _out_of_fold(recipe, prepared, run, folds)
    covered = np.isin(prepared.folds, folds)
    table, oof = prepared.table.take(np.flatnonzero(covered)), probs[covered]
    assert table.targets is not None
    fitter = RuleFitter(recipe, table.label_groups, prepared.given_shares)
    rule = fitter.fit(oof, table.targets, prepared.folds[covered])
    scores, answers = honest_scores(
        recipe,
        fitter,
        oof,
        table.targets,
        prepared.folds[covered],
        groups=table.groups,
        num_test=count_test_rows(recipe, data_dir),
    )
    write_json(run.path / "rule.json", rule.to_json())
    write_json(run.path / "scores.json", scores)
    if recipe.table.task == "multilabel":
        path = run.path / LABEL_SCORES
        write_label_table(path, recipe, fitter, rule, table, oof, answers)
        say(f"{path} and .png: what each label scores, its threshold and share")
    if len(folds) < recipe.folds.num_folds:
        say(f"note: {len(folds)} of {recipe.folds.num_folds} folds are trained; the scores are theirs")
    if len(folds) == 1:
        say("note: with one fold the rule is fitted on the rows that it is scored on")
    tell_scores(scores)


def _out_of_fold(recipe: Recipe, prepared: Prepared, run: RunDir, folds: list[int]) -> np.ndarray:
    """Each row by the fold that has not trained on it, probabilities float32 (N, C); 0 where that fold is missing."""
    compute = choose_compute(recipe)
    table = prepared.table
    probs = np.zeros((len(table), len(table.labels)), np.float32)
    for fold in folds:
        rows = prepared.rows(fold, valid=True)
        predictions = predict_file(run, fold, "oof", table, prepared.source, rows, recipe, compute)
        probs[rows] = predictions.merged
    return probs
