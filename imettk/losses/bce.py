"""Binary cross-entropy over labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def bce(logits: Tensor, targets: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean loss over each sample's labels.

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C).
        class_weights: of absent and of present labels, (2, C); None for equal ones.

    Returns:
        float32 (B,).
    """
    absent = ratio = None
    if class_weights is not None:
        absent, present = class_weights.to(logits.device)
        ratio = present / absent
    losses = binary_cross_entropy_with_logits(
        logits.float(), targets.float(), weight=absent, pos_weight=ratio, reduction="none"
    )
    return losses.mean(1)
