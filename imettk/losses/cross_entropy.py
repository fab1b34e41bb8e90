"""Cross-entropy over classes."""

from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of each sample: logits (B, C), targets int64 (B,) or soft, float (B, C) -> float32 (B,)."""
    return functional.cross_entropy(logits.float(), targets, reduction="none")
