"""Cross-entropy over the cosines to class centres, with a margin for the target class."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.functional import one_hot

from imettk.config import EmbeddingConfig
from imettk.losses.cross_entropy import cross_entropy


def cosface(
    cosine: Tensor,
    targets: Tensor,
    *,
    scale: float = 30.0,
    margin: float = 0.35,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Return the CosFace loss (arXiv 1801.09414, eq. 4): the target cosine is lowered by the margin.

    Args:
        cosine: similarity to each class centre, (B, C).
        targets: int64 (B,).
        scale: factor that turns cosines into logits.
        margin: in [0, 2); 0 gives a normalised softmax.
        class_weights: weight of each class, (C,); None for equal ones.

    Returns:
        Loss of each sample, float32 (B,).
    """
    lowered = cosine.float() - margin * one_hot(targets, cosine.shape[1])
    return cross_entropy(scale * lowered, targets, class_weights=class_weights)


def settings(embedding: EmbeddingConfig, counts: np.ndarray | None) -> dict[str, Any]:
    """Return the loss's parameters from a recipe's section `embedding`; see `losses.output_loss`."""
    return {"scale": embedding.scale, "margin": embedding.margin}
