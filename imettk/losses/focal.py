"""Focal loss over labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def focal(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float = 0.25,
    constant_weight: bool = False,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Return binary cross-entropy that down-weights easy labels (Lin et al., arXiv 1708.02002, eq. 5).

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C).
        gamma: focusing exponent, 0 or above.
        alpha: weight of present labels, in (0, 1); absent labels have 1 - alpha.
        constant_weight: let no gradient flow through the weight, and double it so that alpha 0.5 weights both kinds
            by 1: the form of iMet 2019's kernels.
        class_weights: of absent and of present labels, (2, C), beside alpha; None for equal ones.

    Returns:
        Mean over the labels of each sample, float32 (B,).
    """
    logits, targets = logits.float(), targets.float()
    cross_entropy = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    # 1 - p_t as two sigmoids: subtracting p_t from 1 would lose all digits of a confident label.
    miss = targets * torch.sigmoid(-logits) + (1 - targets) * torch.sigmoid(logits)
    if constant_weight:  # detached before the power, whose gradient at 0 is infinite for gamma below 1
        miss = miss.detach()
    weight = (alpha * targets + (1 - alpha) * (1 - targets)) * miss**gamma
    if class_weights is not None:
        absent, present = class_weights.to(logits.device)
        weight = weight * (present * targets + absent * (1 - targets))
    return ((2 * weight if constant_weight else weight) * cross_entropy).mean(1)
