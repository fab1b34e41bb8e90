"""Test predictions within what a session has left: a hidden test set may be ten times as large as the one on show."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from imettk.config import Recipe
from imettk.data.sample_table import SampleTable
from imettk.data.source import ImageSource
from imettk.experiment.predictions import describe, evaluate, find_predictions, predict_file
from imettk.experiment.prepared import choose_compute, load_model
from imettk.inference.predictor import Predictions
from imettk.progress import say
from imettk.tracking.run_dir import RunDir
from imettk.training.process_group import Compute

WARM_BATCHES, TIMED_BATCHES = 1, 3


def predict_in_time(
    recipe: Recipe, run: RunDir, table: SampleTable, source: ImageSource, folds: list[int], *, end: float
) -> Iterator[tuple[int, Predictions]]:
    """Each fold with its predictions of the test table.

    Where time is short, views are dropped first, then folds, and at last rows of the first fold, which get the mean
    prediction of the others: there is always an answer for every row.

    Args:
        end: when predicting has to be over, on `time.monotonic()`.
    """
    compute, rows, views = choose_compute(recipe), np.arange(len(table)), recipe.predict.views
    cost = None  # seconds that an image takes in one view
    for number, fold in enumerate(folds):
        values = describe(run, fold, table, source, rows, recipe, views)
        if (kept := find_predictions(run, fold, "test", values, table.ids)) is not None:
            yield fold, kept
            continue
        if cost is None:
            cost = _measure(recipe, run, fold, table, source, rows, compute)
        left, one_view = end - time.monotonic(), cost * len(rows)
        if number and left < one_view:
            say(f"warning: no time for {len(folds) - number} of {len(folds)} folds: the answer is that of the others")
            return
        count = len(views) if one_view == 0 else int(left / (one_view * (len(folds) - number)))
        chosen = views[: min(max(count, 1), len(views))]
        if len(chosen) < len(views):
            say(f"warning: fold {fold}: time for {len(chosen)} of {len(views)} views ({', '.join(chosen)})")
        started = time.monotonic()
        predictions = predict_file(run, fold, "test", table, source, rows, recipe, compute, views=chosen, until=end)
        cost = (time.monotonic() - started) / max(1, len(rows) * len(chosen))
        yield fold, predictions


def _measure(
    recipe: Recipe, run: RunDir, fold: int, table: SampleTable, source: ImageSource, rows: np.ndarray, compute: Compute
) -> float:
    """Seconds an image in one view, by a few batches; 0 where there are hardly more images than these."""
    batch = recipe.predict.batch_size
    warm, timed = WARM_BATCHES * batch, TIMED_BATCHES * batch
    if len(rows) < 2 * (warm + timed):
        return 0.0
    network = load_model(run.model(fold), recipe, table, compute.device)
    views = recipe.predict.views[:1]
    evaluate(network, source, rows[:warm], recipe, compute, views=views)
    started = time.monotonic()
    evaluate(network, source, rows[warm : warm + timed], recipe, compute, views=views)
    return (time.monotonic() - started) / timed
