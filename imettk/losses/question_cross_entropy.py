"""Cross-entropy of several questions an image."""

from __future__ import annotations

import torch
from torch import Tensor

from imettk.losses.by_target import mean_over_targets


def question_cross_entropy(log_probs: Tensor, targets: Tensor, *, parts: tuple[int, ...], weights: str = "") -> Tensor:
    """Weighted mean over questions of each sample's cross-entropy; a question without a true class costs nothing.

    Args:
        log_probs: logarithms of probabilities, (B, C), which sum to 1 in each part.
        targets: 0 and 1, or probabilities, (B, C).
        parts: labels of each question, (Q,), C in all.
        weights: of the questions, as `target_weights` takes them; "" for equal ones.

    Returns:
        float32 (B,).
    """
    losses = -(log_probs.float() * targets.float())
    return mean_over_targets(torch.stack([part.sum(1) for part in losses.split(list(parts), 1)], 1), weights)
