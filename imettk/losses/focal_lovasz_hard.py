"""Focal loss plus symmetric Lovász hinge plus hard-negative cross-entropy over labels."""

from torch import Tensor

from imettk.losses.focal_lovasz import focal_lovasz
from imettk.losses.hard_negative import hard_negative_bce


def focal_lovasz_hard(logits: Tensor, targets: Tensor) -> Tensor:
    """Return `focal_lovasz` plus the hard negatives that are in the code of HPA 2018's winner but not in the write-up.

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C).

    Returns:
        Share of each sample, float32 (B,), with the loss as their mean.
    """
    return focal_lovasz(logits, targets) + hard_negative_bce(logits, targets)
