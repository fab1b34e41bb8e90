"""`validate`: out-of-fold predictions with TTA, the decision rule, and honest scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from imettk.commands.write_report import keep_report
from imettk.config import Recipe
from imettk.errors import ConfigError
from imettk.evaluation.judge import judge_of
from imettk.experiment.groups import row_groups
from imettk.experiment.imported import predicted_folds
from imettk.experiment.prepared import Experiment, choose_compute, read_prepared, require_same_data
from imettk.progress import say
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import read_values


def validate(recipe: Recipe, data_dir: Path, run: RunDir, *, fold: int | None, folds: Sequence[int] = ()) -> None:
    """Write `oof.safetensors` of every trained fold (or one), `rule.json` and `scores.json`, and print the scores.

    Each fold is scored with a rule fitted on the other folds, so no row is judged by a threshold that has seen it; the
    rule that is kept is fitted on all rows.

    Args:
        folds: take these trained folds, in place of all.

    Raises:
        MissingFileError: no fold is trained.
    """
    prepared = read_prepared(recipe, data_dir, run)
    # Only here: no other command needs the groups, and those of a large table take half a second.
    prepared = replace(prepared, table=replace(prepared.table, groups=row_groups(prepared.table, run)))
    folds = list(folds) or predicted_folds(run, fold)
    for number in set(folds) & set(run.trained_folds()):
        require_same_data(str(run.model(number)), read_values(run.model(number)), prepared.identity)
    run.save_recipe(recipe)  # a later kernel finds this folder among its inputs by it
    if not np.isin(prepared.folds, folds).any():
        raise ConfigError(
            "no row is validated: with `folds.scheme` none all rows train; `imettk infer` is what follows"
        )
    experiment = Experiment(recipe, run, prepared, choose_compute(recipe))
    fitted = judge_of(recipe).validate(experiment, data_dir, folds)
    _tell_folds(recipe, folds, fitted=fitted)
    keep_report(run)


def _tell_folds(recipe: Recipe, folds: list[int], *, fitted: bool) -> None:
    """Print what the scores do not cover; `fitted` says that a rule was fitted on the rows."""
    if len(folds) < recipe.folds.num_folds:
        say(f"note: {len(folds)} of {recipe.folds.num_folds} folds are there; the scores are theirs")
    if len(folds) == 1 and fitted:
        say("note: with one fold the rule is fitted on the rows that it is scored on")
