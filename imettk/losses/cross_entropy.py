"""Cross-entropy over classes."""

from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each sample, float32 (B,), of logits (B, C) and targets int64 (B,) or soft, float (B, C)."""
    return functional.cross_entropy(logits.float(), targets, reduction="none")
