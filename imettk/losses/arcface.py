"""Cross-entropy over the angles to class centres, with a margin for the target class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imettk.config import EmbeddingConfig
from imettk.losses.cross_entropy import cross_entropy

EPSILON = 1e-7  # distance that cosines keep from -1 and 1, where the gradient of acos is infinite


def add_angular_margin(cosine: Tensor, targets: Tensor, *, margin: float | Tensor, easy_margin: bool = False) -> Tensor:
    """Widen the angle between each embedding and its own class (ArcFace, arXiv 1801.07698, eq. 3).

    Beyond pi, cos(angle + margin) would rise again. There the cosine is lowered by margin * sin(margin) instead, so
    that a larger angle never gets a higher logit.

    Args:
        cosine: similarity to each class centre, in [-1, 1], shape (B, C).
        targets: class index of each image, int64, shape (B,).
        margin: angle added to the target class, in radians, [0, pi/2): one for all classes, or shape (C,). It must be
            on the CPU, because every call checks its range.
        easy_margin: widen only angles below pi/2, which keeps the target logit of a distant image unchanged.

    Returns:
        Cosines with the target column lowered, float32, shape (B, C).

    Raises:
        ValueError: a margin lies outside [0, pi/2).
    """
    cosine = cosine.float()
    width = torch.as_tensor(margin, dtype=torch.float32)
    outside = width[~((width >= 0) & (width < math.pi / 2))]
    if len(outside):
        raise ValueError(f"`margin` must be in [0, pi/2) radians, got {outside[0]:g}; is it in degrees?")
    width = width.to(cosine.device)
    if width.ndim:
        width = width[targets]
    target_cosine = cosine.gather(1, targets[:, None])[:, 0]
    # Only the angle is clamped. The linear branch takes the cosine unclamped: an embedding exactly opposite to its
    # class centre would otherwise have no gradient and never move.
    angle = target_cosine.clamp(-1 + EPSILON, 1 - EPSILON).acos()
    widened = (angle + width).cos()
    if easy_margin:
        lowered = torch.where(target_cosine > 0, widened, target_cosine)
    else:
        lowered = torch.where(angle + width <= math.pi, widened, target_cosine - width * width.sin())
    return cosine.scatter(1, targets[:, None], lowered[:, None])


def arcface(
    cosine: Tensor,
    targets: Tensor,
    *,
    scale: float = 30.0,
    margin: float | Tensor = 0.5,
    easy_margin: bool = False,
    plain_weight: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Return the ArcFace loss, optionally mixed with cross-entropy without a margin (as in HPA 2018's metric learning).

    Args:
        cosine: similarity to each class centre, (B, C).
        targets: int64 (B,).
        scale: factor that turns cosines into logits.
        margin: see `add_angular_margin`.
        plain_weight: w in (CE(with margin) + w CE(without)) / (1 + w).
        class_weights: weight of each class, (C,); None for equal ones.

    Returns:
        Loss of each sample, float32 (B,).
    """
    widened = add_angular_margin(cosine, targets, margin=margin, easy_margin=easy_margin)
    losses = cross_entropy(scale * widened, targets, class_weights=class_weights)
    if plain_weight:
        plain = cross_entropy(scale * cosine.float(), targets, class_weights=class_weights)
        losses = (losses + plain_weight * plain) / (1 + plain_weight)
    return losses


def margins_by_size(counts: np.ndarray | Tensor, *, low: float, high: float, power: float = 0.25) -> Tensor:
    """Return a margin for each class, larger for rarer ones: a n^-0.25 + b (Ha et al., arXiv 2010.05350).

    Args:
        counts: images of each class, (C,); a class without images gets `high`.
        low: margin of the most frequent class.
        high: margin of the rarest class; of every class if all are equally frequent.
        power: the exponent, 0.25 in the paper.

    Returns:
        float32 (C,), in radians.
    """
    sizes = torch.as_tensor(counts, dtype=torch.float64)
    weights = sizes.clamp(min=1) ** -power
    known = weights[sizes > 0]
    spread = known.max() - known.min() if len(known) else weights.new_zeros(())
    share = (weights - known.min()) / spread if spread > 0 else torch.ones_like(weights)
    return (low + (high - low) * share.clamp(max=1)).float()


def settings(embedding: EmbeddingConfig, counts: np.ndarray | None) -> dict[str, Any]:
    """Return the loss's parameters from a recipe's section `embedding`; see `losses.output_loss`."""
    margin: float | Tensor = embedding.margin
    if embedding.frequent_margin is not None and counts is not None:
        margin = margins_by_size(counts, low=embedding.frequent_margin, high=embedding.margin)
    return {
        "scale": embedding.scale,
        "margin": margin,
        "easy_margin": embedding.easy_margin,
        "plain_weight": embedding.plain_weight,
    }
