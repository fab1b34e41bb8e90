"""One loss a file. A loss takes logits (or embeddings) and targets, and gives the loss of each sample, float32 (B,).

A loss that is defined over the batch as a whole has the attribute `whole_batch`, which is true. It gives (B,) too:
shares whose mean is the loss, so that a share depends on the other samples.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from imettk.config.model import MetricPlan
from imettk.config.training import PAIR_LOSSES
from imettk.losses.arcface import arcface, margins_by_size
from imettk.losses.asymmetric import asymmetric
from imettk.losses.bce import bce
from imettk.losses.contrastive import contrastive
from imettk.losses.cosface import cosface
from imettk.losses.cross_entropy import cross_entropy
from imettk.losses.fbeta import soft_f_beta
from imettk.losses.focal import focal
from imettk.losses.focal_lovasz import focal_lovasz
from imettk.losses.focal_lovasz_hard import focal_lovasz_hard
from imettk.losses.hard_negative import hard_negative_bce
from imettk.losses.lovasz import lovasz
from imettk.losses.triplet import triplet


class NetworkOutputs(Protocol):
    """What a network says of B images: see `models.heads.Outputs`."""

    @property
    def logits(self) -> Tensor: ...

    @property
    def embeddings(self) -> Tensor | None: ...

    @property
    def aux_logits(self) -> Tensor | None: ...


PlainLoss = Callable[[Tensor, Tensor], Tensor]
LossFn = Callable[[Any, Tensor], Tensor]  # NetworkOutputs and targets -> (B,)

LOSSES: dict[str, PlainLoss] = {
    "bce": bce,
    "focal": focal,
    "f_beta": soft_f_beta,
    "lovasz": lovasz,
    "focal_lovasz": focal_lovasz,
    "focal_lovasz_hard": focal_lovasz_hard,
    "hard_negative_bce": hard_negative_bce,
    "asymmetric": asymmetric,
    "cross_entropy": cross_entropy,
}


class OutputLoss:
    """A loss of all that a network says, which the trainer calls: outputs and targets -> (B,).

    Args:
        plain: of logits and targets, or of embeddings and targets.
        of_embeddings: whether it takes embeddings.
        joint_weight: of the cross-entropy of a second classifier, added where there is one.
    """

    def __init__(self, plain: PlainLoss, *, of_embeddings: bool = False, joint_weight: float = 0.0) -> None:
        self._plain, self._of_embeddings, self._joint_weight = plain, of_embeddings, joint_weight
        self.whole_batch = bool(getattr(plain, "whole_batch", False))

    def __call__(self, outputs: NetworkOutputs, targets: Tensor) -> Tensor:
        given = outputs.embeddings if self._of_embeddings else outputs.logits
        assert given is not None  # the recipe has looked
        losses = self._plain(given, targets)
        if outputs.aux_logits is not None and self._joint_weight:
            losses = losses + self._joint_weight * cross_entropy(outputs.aux_logits, targets)
        return losses


def make_loss(
    name: str,
    *,
    gamma: float,
    alpha: float,
    constant_weight: bool,
    metric: MetricPlan,
    counts: np.ndarray | None = None,
) -> OutputLoss:
    """The loss of this name.

    Args:
        gamma, alpha, constant_weight: of `focal`.
        metric: of the losses of embeddings.
        counts: rows of each class in training, int (C,), for margins that go by them.
    """
    if name == "focal":
        return OutputLoss(partial(focal, gamma=gamma, alpha=alpha, constant_weight=constant_weight))
    if name in LOSSES:
        return OutputLoss(LOSSES[name])
    plain = _metric_loss(name, metric, counts)
    return OutputLoss(plain, of_embeddings=name in PAIR_LOSSES, joint_weight=metric.joint_weight)


def _metric_loss(name: str, plan: MetricPlan, counts: np.ndarray | None) -> PlainLoss:
    if name == "arcface":
        margin: Any = plan.margin
        if plan.frequent_margin is not None and counts is not None:
            margin = margins_by_size(counts, low=plan.frequent_margin, high=plan.margin)
        return partial(
            arcface,
            scale=plan.scale,
            margin=margin,
            easy_margin=plan.easy_margin,
            plain_weight=plan.plain_weight,
        )
    if name == "cosface":
        return partial(cosface, scale=plan.scale, margin=plan.margin)
    loss: PlainLoss
    if name == "triplet":
        loss = partial(
            triplet,
            mining=plan.mining,
            distance=plan.distance,
            margin=None if plan.soft_margin else plan.margin,
            violated_only=plan.violated_only,
        )
    else:
        loss = partial(contrastive, margin=plan.margin, distance=plan.distance)
    loss.whole_batch = True  # type: ignore[attr-defined]  # a partial does not have its function's attributes
    return loss
