"""Cross-entropy over classes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, targets: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """Return the loss of each sample, float32 (B,).

    Args:
        logits: (B, C).
        targets: int64 (B,), or soft, float (B, C).
        class_weights: weight of each class in a target, (C,); None for equal ones.
    """
    weight = None if class_weights is None else class_weights.to(logits.device)
    return functional.cross_entropy(logits.float(), targets, weight=weight, reduction="none")
