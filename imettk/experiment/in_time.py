"""Test predictions within the rest of a session: a hidden test set may be ten times as large as the public one."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from imettk.config import Recipe
from imettk.experiment.predictions import TrainedModels, evaluate
from imettk.experiment.prepared import ImageRows
from imettk.inference.predictor import Predictions
from imettk.progress import say
from imettk.tracking.journal import read_journal
from imettk.tracking.run_dir import RunDir
from imettk.tracking.summary import find_journals

WARM_BATCHES, TIMED_BATCHES = 1, 3


def predict_in_time(
    models: TrainedModels, folds: list[int], images: ImageRows, *, end: float
) -> Iterator[tuple[int, Predictions]]:
    """Yield each fold with its predictions of the test set.

    If time is short, views are dropped first, then folds, and at last images of the first fold, which get the mean
    prediction of the others: there is always an answer for every row.

    Args:
        end: when predicting has to be over, on `time.monotonic()`.
    """
    num_images, views = len(images.rows), models.recipe.predict.views
    cost = None  # seconds of an image in one view
    for number, fold in enumerate(folds):
        if (kept := models.find(fold, "test", images, views)) is not None:
            yield fold, kept
            continue
        if cost is None:
            cost = _measure(models, fold, images)
        left, one_view = end - time.monotonic(), cost * num_images
        if number and left < one_view:
            say(f"warning: no time for {len(folds) - number} of {len(folds)} folds: the answer is that of the others")
            return
        count = len(views) if one_view == 0 else int(left / (one_view * (len(folds) - number)))
        chosen = views[: min(max(count, 1), len(views))]
        if len(chosen) < len(views):
            say(f"warning: fold {fold}: time for {len(chosen)} of {len(views)} views ({', '.join(chosen)})")
        started = time.monotonic()
        predictions = models.predict(fold, "test", images, views=chosen, until=end)
        cost = (time.monotonic() - started) / max(1, num_images * len(chosen))
        yield fold, predictions


def longest_validation(run: RunDir, fold: int, recipe: Recipe) -> float:
    """Return the seconds of the longest validation while a fold trained, in one view; 0 if none is recorded.

    They are scaled to the pixels that the recipe predicts at, which may be more than those of training's validations.
    """
    path = find_journals([run.path, *run.inputs]).get(fold)
    events = [] if path is None else read_journal(path)
    seconds = max((event["seconds"] for event in events if event["event"] == "validate"), default=0.0)
    return seconds * math.prod(recipe.predict_size) / math.prod(recipe.images.image_size)


def _measure(models: TrainedModels, fold: int, images: ImageRows) -> float:
    """Return the seconds of an image in one view, by a few batches; 0 if there are hardly more images than these."""
    recipe = models.recipe
    batch, views = recipe.predict.batch_size, recipe.predict.views[:1]
    warm, timed = WARM_BATCHES * batch, TIMED_BATCHES * batch
    if len(images.rows) < 2 * (warm + timed):
        return 0.0
    network = models.load(fold, images.table)
    # Workers start and kernels are chosen in the first batches, which say nothing of the others.
    evaluate(network, images.take(slice(warm)), recipe, models.compute, views=views)
    started = time.monotonic()
    evaluate(network, images.take(slice(warm, warm + timed)), recipe, models.compute, views=views)
    return (time.monotonic() - started) / timed
