"""The recipe of a round of `pseudo --rounds`: it learns the labels of the round before, in as many steps as round 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from imettk.commands.assembly import training_data
from imettk.commands.pseudo_label import add_pseudo_table
from imettk.config import Recipe
from imettk.data.sampling import count_steps
from imettk.evaluation.pseudo import PSEUDO
from imettk.experiment.prepared import Prepared
from imettk.experiment.teacher import with_teacher
from imettk.tracking.tensors import read_values


def make_student(
    base: Recipe, prepared: Prepared, folds: Sequence[int], folder: Path, *, weight: float | None
) -> Recipe:
    """Return the recipe that also learns the labels in a folder; `with_steps_of` gives it its number of epochs.

    Args:
        prepared: the data of the base.
        folds: those that train.
        weight: how often a labelled row comes in an epoch; None is 1, or less where the labelled rows would outnumber
            the others, as then their errors count for more than the truth.
    """
    if weight is None:
        repeats = np.array([1.0, *(extra.weight for extra in base.table.extra)])
        sources = prepared.table.sources
        assert sources is not None  # a training table has them
        rows = [with_teacher(base, prepared, fold)[0].rows(fold, valid=False) for fold in folds]
        own = float(np.mean([repeats[sources[part]].sum() for part in rows]))
        labelled = float(np.mean([sum(sure) for sure in read_values(folder / PSEUDO)["sure"]]))
        weight = rounded(min(1.0, own / max(labelled, 1.0)))
    return add_pseudo_table(base, folder, weight)


def with_steps_of(
    base: Recipe, prepared: Prepared, student: Recipe, with_labels: Prepared, folds: Sequence[int]
) -> Recipe:
    """Return the student with epochs for as many steps in each stage as the base takes.

    Epochs have more steps, and their number falls: with more steps in all, a gain could not be told from that of longer
    training, which is the larger one where the base trains too briefly.

    Args:
        prepared, with_labels: the data of the base and of the student.
    """
    shares = steps_per_epoch(base, prepared, folds) / steps_per_epoch(student, with_labels, folds)
    stages = tuple(
        replace(
            stage,
            num_epochs=rounded(stage.num_epochs * share),
            warmup_epochs=rounded(stage.warmup_epochs * share),
            step_epochs=tuple(rounded(epochs * share) for epochs in stage.step_epochs),
        )
        for stage, share in zip(base.stages, shares.tolist(), strict=True)
    )
    share = sum(stage.num_epochs for stage in stages) / sum(stage.num_epochs for stage in base.stages)
    return replace(
        student, stages=stages, train=replace(base.train, validate_epochs=rounded(base.train.validate_epochs * share))
    )


def steps_per_epoch(recipe: Recipe, prepared: Prepared, folds: Sequence[int]) -> np.ndarray:
    """Return the steps of an epoch of each stage, the mean over these folds, float64 (stages,).

    They are those of the trainer: samplers, weights of tables and hard examples count, and rows of which a fold's
    models are unsure do not.
    """
    counts = []
    for fold in folds:
        data = training_data(recipe, prepared, with_teacher(recipe, prepared, fold)[0], fold, seed=0)
        counts.append([count_steps(data.samples_per_epoch(stage), stage.batch_size) for stage in recipe.stages])
    return np.mean(counts, axis=0)


def rounded(number: float) -> float:
    """Return a number with six digits, for a field that people read: an error below a step in 100,000 of them."""
    return float(f"{number:.6g}")
