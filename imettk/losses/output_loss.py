"""The loss that the trainer calls: a loss function applied to the network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from imettk.config import EmbeddingConfig
from imettk.config.choices import Loss, load
from imettk.losses.cross_entropy import cross_entropy

PlainLoss = Callable[[Tensor, Tensor], Tensor]


class NetworkOutputs(Protocol):
    """Outputs of a network for B images; see `models.heads.Outputs`."""

    @property
    def logits(self) -> Tensor: ...

    @property
    def embeddings(self) -> Tensor | None: ...

    @property
    def aux_logits(self) -> Tensor | None: ...


class OutputLoss:
    """A loss of outputs and targets: the loss of each sample, float32 (B,).

    Args:
        loss: a function of logits (or cosines, which take their place) and targets, or of embeddings and targets.
        of_embeddings: whether it takes embeddings.
        whole_batch: each sample's share depends on the others, so the loss must see the samples of all processes
            together.
        joint_weight: weight of the cross-entropy of a second classifier, if the network has one.
    """

    def __init__(
        self,
        loss: PlainLoss,
        *,
        of_embeddings: bool = False,
        whole_batch: bool = False,
        joint_weight: float = 0.0,
    ) -> None:
        self.whole_batch = whole_batch
        self._loss, self._of_embeddings, self._joint_weight = loss, of_embeddings, joint_weight

    def __call__(self, outputs: NetworkOutputs, targets: Tensor) -> Tensor:
        inputs = outputs.embeddings if self._of_embeddings else outputs.logits
        assert inputs is not None  # the recipe refuses such a loss for a head without embeddings
        if inputs.ndim == 3:  # logits by mask of multi-sample dropout, (masks, B, C)
            losses = torch.stack([self._loss(logits, targets) for logits in inputs]).mean(0)
        else:
            losses = self._loss(inputs, targets)
        if outputs.aux_logits is not None and self._joint_weight:
            losses = losses + self._joint_weight * cross_entropy(outputs.aux_logits, targets)
        return losses


def make_loss(
    row: Loss,
    *,
    params: Mapping[str, Any] | None = None,
    embedding: EmbeddingConfig | None = None,
    counts: np.ndarray | None = None,
    parts: tuple[int, ...] = (),
    class_weights: Tensor | None = None,
) -> OutputLoss:
    """Return the loss of a row of LOSSES.

    Args:
        params: the loss's own parameters; None for its defaults.
        embedding: the recipe's section on losses of embeddings; None for the defaults.
        counts: training rows of each class, int (C,), for margins that depend on them.
        parts: number of labels of each question, (Q,), for losses by question.
        class_weights: as `ClassBalance` returns them, for losses that weigh classes.
    """
    embedding = embedding or EmbeddingConfig()
    settings = {} if row.settings is None else load(row.settings)(embedding, counts)
    if row.by_part:
        settings["parts"] = parts
    if class_weights is not None:
        settings["class_weights"] = class_weights
    return OutputLoss(
        partial(row.load(), **settings, **(params or {})),
        of_embeddings=row.takes == "embeddings",
        whole_batch=row.whole_batch,
        joint_weight=0.0 if row.takes == "logits" else embedding.joint_weight,
    )
