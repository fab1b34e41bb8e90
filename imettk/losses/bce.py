"""Binary cross-entropy over labels."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss over each sample's labels: logits (B, C), targets uint8 or float (B, C) -> float32 (B,)."""
    return binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none").mean(1)
