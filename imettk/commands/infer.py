"""`infer`: test predictions of every fold, their mean, the rule, a checked submission."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.data.asked_rows import find_row_source
from imettk.data.table import read_answers, read_table, read_test_table
from imettk.evaluation.judge import judge_of
from imettk.evaluation.submit import check_sample, submit
from imettk.evaluation.units import Units
from imettk.experiment.imported import predicted_folds
from imettk.experiment.in_time import predict_in_time
from imettk.experiment.known import read_known_answers
from imettk.experiment.predictions import TrainedModels
from imettk.experiment.prepared import ImageRows, choose_compute, open_source
from imettk.inference.predictor import Predictions
from imettk.progress import say
from imettk.tracking.files import read_json, write_json
from imettk.tracking.run_dir import RunDir


def infer(
    recipe: Recipe,
    data_dir: Path,
    run: RunDir,
    *,
    fold: int | None,
    started: float,
    answers_csv: Path | None = None,
) -> None:
    """Write `test.safetensors` of every trained fold (or one) and `submission.csv`, before the session's limit.

    Args:
        started: when the session began, on `time.monotonic()`.
        answers_csv: known answers in the format of the training table; with it the test score is printed and kept.

    Raises:
        MissingFileError: no fold is trained, or `validate` has not fitted a rule.
        DataError: the submission would not fit the sample.
    """
    judge = judge_of(recipe)
    judge.require_validated(run)
    folds = predicted_folds(run, fold)
    labelled = read_table(recipe.table, data_dir)
    # Whatever can be wrong is found before hours are spent on predictions.
    judge.require_rule(run, labelled, folds)
    table = read_test_table(recipe.table, data_dir, labelled)
    check_sample(recipe, data_dir, labelled.labels)
    for remark in table.remarks:
        say(f"note: {remark}")
    asked, truth = Units(recipe, table).table, None
    if answers_csv is not None:
        truth = read_answers(recipe.table, answers_csv, table.labels, asked.ids, data_dir=data_dir)
    known = read_known_answers(run, recipe, labelled, table)
    run.save_recipe(recipe)
    source = open_source(recipe, table, data_dir, run)
    end = started + recipe.session.limit_seconds - recipe.session.margin_seconds
    used: list[int] = []
    models = TrainedModels(recipe, run, choose_compute(recipe))
    images = ImageRows(table, source, np.arange(len(table)))
    tests = _noted(predict_in_time(models, folds, images, end=end), used)
    answers, probs = judge.answer_test(data_dir, run, table, tests)
    if known:
        answers = judge.put_known(judge.known_cells(run, labelled, known), labelled, table, answers)
    submit(recipe, data_dir, run, asked.ids, answers, f"mean of {len(used)} folds", num_answers=judge.num_answers)
    if truth is not None:
        name, value = judge.score_answers(labelled, asked, answers, truth, probs)
        write_json(run.path / "scores.json", (read_json(run.path / "scores.json") or {}) | {"test": value})
        say(f"  test     {name} {value:.4f}")


def has_test_set(recipe: Recipe, data_dir: Path) -> bool:
    """Return whether a competition's folder has test images to predict."""
    return find_row_source(recipe.table, data_dir) is not None


def _noted(tests: Iterator[tuple[int, Predictions]], used: list[int]) -> Iterator[tuple[int, Predictions]]:
    """Yield the same, and append each fold to `used`: there may not be time for all."""
    for fold, predictions in tests:
        used.append(fold)
        yield fold, predictions
