"""What a training is judged by while it runs: the points of a curve."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from imettk.config import Recipe, StagePlan
from imettk.evaluation.identities import rank_validation
from imettk.evaluation.rules import RuleFitter, score
from imettk.experiment.predictions import evaluate
from imettk.experiment.prepared import Compute, Prepared
from imettk.inference.predictor import to_probs
from imettk.losses.output_loss import OutputLoss, make_loss
from imettk.metrics.labels import focal_loss
from imettk.models.heads import Outputs
from imettk.progress import say
from imettk.training.team import Team

MIN_SPREAD = 0.01  # of embeddings: below, they are all but alike


def loss_of(recipe: Recipe, stage: StagePlan | None = None, *, counts: np.ndarray | None = None) -> OutputLoss:
    """Return the loss of a stage, or that of the whole training, by which validations go.

    Args:
        counts: rows of each class in training, int64 (C,), for margins that go by them.
    """
    row, params = recipe.loss_row(stage)
    return make_loss(row, params=params, embedding=recipe.embedding, counts=counts)


def make_validation(
    recipe: Recipe, prepared: Prepared, fold: int, compute: Compute, team: Team
) -> Callable[[nn.Module], dict[str, float]]:
    """What the trainer calls between steps: loss, and score with a rule fitted on the same rows (a curve only).

    Each process predicts its part of the rows; the first one counts.
    """
    rows = prepared.rows(fold, valid=True)
    judge = _judge_ranking if recipe.rule.kind == "rank" else _judge_rule
    # Without class centres only neighbours can tell who is who.
    gallery = prepared.rows(fold, valid=False) if recipe.model.embeds and recipe.model.centres == 0 else rows[:0]

    def predict(network: nn.Module, rows: np.ndarray) -> Outputs:
        first, last = len(rows) * team.rank // team.size, len(rows) * (team.rank + 1) // team.size
        part = evaluate(network, prepared.source, rows[first:last], recipe, compute, views=("plain",))
        embeddings = None if part.embeddings is None else team.gather(part.embeddings[0])
        return Outputs(team.gather(part.logits[0]), embeddings)

    def run_validation(network: nn.Module) -> dict[str, float]:
        if not len(rows):  # all rows train
            return dict.fromkeys(recipe.validation_scores, math.nan)
        said = predict(network, rows)
        beside = predict(network, gallery) if len(gallery) else None
        if not team.is_main:
            return {}
        return judge(recipe, prepared, fold, said, beside)

    return run_validation


def _judge_rule(
    recipe: Recipe, prepared: Prepared, fold: int, said: Outputs, gallery: Outputs | None
) -> dict[str, float]:
    targets = prepared.targets[prepared.rows(fold, valid=True)]
    multiclass = recipe.table.task == "multiclass"
    fitter = RuleFitter(recipe, prepared.table.label_groups, prepared.given_shares)
    probs = to_probs(said.logits, multiclass=multiclass)
    rule = fitter.fit_quickly(probs, targets)
    loss = float(loss_of(recipe)(said, torch.from_numpy(targets)).mean())
    metrics = {"loss": loss, "score": score(recipe, rule.apply(probs), targets)}
    return metrics if multiclass else metrics | {"focal": focal_loss(probs, targets)}


def _judge_ranking(
    recipe: Recipe, prepared: Prepared, fold: int, said: Outputs, gallery: Outputs | None
) -> dict[str, float]:
    """Loss of the rows whose identity is known; MAP@k by class centres, or by neighbours where there are none."""
    rows, train = (prepared.rows(fold, valid=valid) for valid in (True, False))
    known = np.isin(prepared.targets[rows], prepared.targets[train])
    metrics = {"score": rank_validation(recipe, prepared, fold, said, gallery)}
    if "loss" in recipe.validation_scores:
        counts = np.bincount(prepared.targets[train], minlength=len(prepared.table.labels))
        kept = torch.from_numpy(known)
        some = Outputs(said.logits[kept])
        metrics["loss"] = float(
            loss_of(recipe, counts=counts)(some, torch.from_numpy(prepared.targets[rows[known]])).mean()
        )
    if said.embeddings is not None:
        # The mean of unit vectors that all point one way has length 1.
        metrics["spread"] = 1 - float(said.embeddings.nanmean(0).norm())
        if metrics["spread"] < MIN_SPREAD:
            say(
                f"warning: fold {fold}: all embeddings are alike (spread {metrics['spread']:.4f}), the network has "
                "collapsed: a lower `lr`, warmup, `embedding.soft_margin`, or mining batch_all or semi_hard help"
            )
    return metrics
