"""Focal loss plus symmetric Lovász hinge over labels."""

from torch import Tensor

from imettk.losses.focal import focal
from imettk.losses.lovasz import lovasz


def focal_lovasz(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss with gamma 2 plus Lovász hinge in equal parts, as in the winning solution of Human Protein Atlas 2018.

    Its focal loss was a sum over classes that weighted present and absent labels alike. `focal` is a mean with weights:
    half each, times 2 C, gives that sum. `focal_lovasz_hard` adds a third part.

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C); `lovasz` takes those above 0.5 as present.

    Returns:
        Each sample's focal loss plus its share of the Lovász hinge, float32 (B,): the mean is the loss.
    """
    return 2 * logits.shape[1] * focal(logits, targets, gamma=2.0, alpha=0.5) + lovasz(logits, targets)
