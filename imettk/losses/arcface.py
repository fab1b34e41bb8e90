"""Cross-entropy over the angles to class centres, with a margin for the own class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from imettk.config import EmbeddingConfig

EPSILON = 1e-7  # cosines are kept so far from -1 and 1, where the angle's gradient is infinite


def add_angular_margin(cosine: Tensor, targets: Tensor, *, margin: float | Tensor, easy_margin: bool = False) -> Tensor:
    """Widen the angle between each embedding and its own class (ArcFace, arXiv 1801.07698, eq. 3).

    Where angle and margin together pass pi, the cosine falls on in a line, cos - margin sin(margin), so that a larger
    angle never gets a higher logit.

    Args:
        cosine: similarity to each class centre, in [-1, 1], shape (B, C).
        targets: class index of each image, int64, shape (B,).
        margin: angle added to the own class in radians, [0, pi/2); one for all, or one a class, shape (C,), on the CPU:
            they are looked at in each call.
        easy_margin: widen only angles below pi/2, so that no image starts behind where it was.

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
    own = cosine.gather(1, targets[:, None])[:, 0]
    # The line below has the cosine as it is: a sample right opposite of its class must have a way back.
    angle = own.clamp(-1 + EPSILON, 1 - EPSILON).acos()
    widened = (angle + width).cos()
    if easy_margin:
        lowered = torch.where(own > 0, widened, own)
    else:
        lowered = torch.where(angle + width <= math.pi, widened, own - width * width.sin())
    return cosine.scatter(1, targets[:, None], lowered[:, None])


def arcface(
    cosine: Tensor,
    targets: Tensor,
    *,
    scale: float = 30.0,
    margin: float | Tensor = 0.5,
    easy_margin: bool = False,
    plain_weight: float = 0.0,
) -> Tensor:
    """ArcFace, and with a weight also the cross-entropy without margin, as HPA 2018's metric model has it.

    Args:
        cosine: similarity to each class centre, (B, C).
        targets: int64 (B,).
        scale: of the cosines, which makes them logits.
        margin: see `add_angular_margin`.
        plain_weight: w in (CE(with margin) + w CE(without)) / (1 + w).

    Returns:
        Of each sample, float32 (B,).
    """
    widened = add_angular_margin(cosine, targets, margin=margin, easy_margin=easy_margin)
    losses = cross_entropy(scale * widened, targets, reduction="none")
    if plain_weight:
        plain = cross_entropy(scale * cosine.float(), targets, reduction="none")
        losses = (losses + plain_weight * plain) / (1 + plain_weight)
    return losses


def margins_by_size(counts: np.ndarray | Tensor, *, low: float, high: float, power: float = 0.25) -> Tensor:
    """A margin for each class, the larger the rarer it is: a n^-power + b (Ha et al., arXiv 2010.05350).

    Args:
        counts: images of each class, (C,); one without any gets `high`, and no centre to learn.
        low: of the class with the most images.
        high: of the class with the fewest; of all, where all have as many.

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
    """Return the parameters that a recipe's section `embedding` gives; see `losses.output_loss`."""
    margin: float | Tensor = embedding.margin
    if embedding.frequent_margin is not None and counts is not None:
        margin = margins_by_size(counts, low=embedding.frequent_margin, high=embedding.margin)
    return {
        "scale": embedding.scale,
        "margin": margin,
        "easy_margin": embedding.easy_margin,
        "plain_weight": embedding.plain_weight,
    }
