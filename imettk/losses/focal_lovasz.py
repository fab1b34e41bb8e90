"""Focal loss plus symmetric Lovász hinge over labels."""

from torch import Tensor

from imettk.losses.focal import focal
from imettk.losses.lovasz import lovasz


def focal_lovasz(logits: Tensor, targets: Tensor) -> Tensor:
    """Return focal loss (gamma 2) plus Lovász hinge in equal parts, as in the winning solution of HPA 2018.

    That solution's focal loss is a sum over classes with equal weights for present and absent labels. `focal` is a mean
    with weights; alpha 0.5 times 2 C gives that sum. `focal_lovasz_hard` adds a third part.

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C); `lovasz` treats those above 0.5 as present.

    Returns:
        Each sample's focal loss plus its share of the Lovász hinge, float32 (B,), with the loss as their mean.
    """
    return 2 * logits.shape[1] * focal(logits, targets, gamma=2.0, alpha=0.5) + lovasz(logits, targets)
