"""Focal loss plus symmetric Lovász hinge plus hard-negative cross-entropy over labels."""

from torch import Tensor

from imettk.losses.focal_lovasz import focal_lovasz
from imettk.losses.hard_negative import hard_negative_bce


def focal_lovasz_hard(logits: Tensor, targets: Tensor) -> Tensor:
    """`focal_lovasz` with the part that only the winner's code of Human Protein Atlas 2018 has, and not his write-up.

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C).

    Returns:
        Of each sample, float32 (B,): the mean is the loss.
    """
    return focal_lovasz(logits, targets) + hard_negative_bce(logits, targets)
