"""Cross-entropy of several questions per image."""

from __future__ import annotations

import torch
from torch import Tensor

from imettk.losses.by_target import mean_over_targets


def question_cross_entropy(log_probs: Tensor, targets: Tensor, *, parts: tuple[int, ...], weights: str = "") -> Tensor:
    """Return the weighted mean over questions of each sample's cross-entropy; a question without a true class costs 0.

    Args:
        log_probs: log-probabilities, (B, C); the probabilities sum to 1 within each part.
        targets: 0 and 1, or probabilities, (B, C).
        parts: number of labels of each question, (Q,), C in all.
        weights: of the questions, in the format of `target_weights`; "" for equal weights.

    Returns:
        Loss of each sample, float32 (B,).
    """
    losses = -(log_probs.float() * targets.float())
    by_question = torch.stack([part.sum(1) for part in torch.split(losses, list(parts), 1)], 1)
    return mean_over_targets(by_question, weights)
