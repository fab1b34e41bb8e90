"""Validations of a training while it runs: the points of its curves."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor, nn

from imettk.config import Recipe, StageConfig
from imettk.config.loss_params import answered_params, weighs_targets
from imettk.evaluation.judge import judge_of
from imettk.experiment.predictions import evaluate
from imettk.experiment.prepared import Experiment
from imettk.losses.output_loss import OutputLoss, make_loss
from imettk.models.heads import Outputs


def loss_of(
    recipe: Recipe,
    stage: StageConfig | None = None,
    *,
    counts: np.ndarray | None = None,
    label_groups: tuple[str, ...] = (),
    answered: bool = False,
    class_weights: Tensor | None = None,
) -> OutputLoss:
    """Return the loss of a stage, or that of the whole training, which validations use.

    Args:
        counts: rows of each class in training, int64 (C,), for margins that depend on them.
        label_groups: of each label, (C,), for losses taken question by question.
        class_weights: of a stage; validations have none, so that losses of different weights can be compared.
        answered: leave out auxiliary columns, which are learned and never answered.
    """
    row, params = recipe.loss_row(stage)
    if answered and row.check is weighs_targets:
        params = answered_params(params, len(recipe.table.number_columns))
    parts = recipe.task.parts(label_groups)
    return make_loss(
        row, params=params, embedding=recipe.embedding, counts=counts, parts=parts, class_weights=class_weights
    )


def make_validation(experiment: Experiment, fold: int) -> Callable[[nn.Module], dict[str, float]]:
    """Return what the trainer calls between steps: network -> loss, and score by a rule fitted on the same rows.

    Such a score is good for a curve only. Each process predicts its part of the rows, and process 0 judges them.
    """
    recipe, prepared, compute = experiment.recipe, experiment.prepared, experiment.compute
    processes, rows = compute.processes, prepared.rows(fold, valid=True)
    judge = judge_of(recipe)
    gallery = judge.gallery(prepared, fold)

    def predict(network: nn.Module, rows: np.ndarray) -> Outputs:
        first, last = len(rows) * processes.rank // processes.size, len(rows) * (processes.rank + 1) // processes.size
        images = prepared.images(rows[first:last])
        # Never in `predict.image_size`: that may change after a training, and the best weights depend on this.
        part = evaluate(network, images, recipe, compute, views=("plain",), size=recipe.images.image_size)
        embeddings = None if part.embeddings is None else processes.all_gather(part.embeddings[0])
        return Outputs(processes.all_gather(part.logits[0]), embeddings)

    def run_validation(network: nn.Module) -> dict[str, float]:
        if not len(rows):  # all rows train
            return dict.fromkeys(recipe.validation_scores, math.nan)
        outputs = predict(network, rows)
        gallery_outputs = predict(network, gallery) if len(gallery) else None
        if not processes.is_main:
            return {}
        return judge.judge_fold(prepared, fold, outputs, gallery_outputs)

    return run_validation
