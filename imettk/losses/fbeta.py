"""Soft F-beta loss over labels."""

import torch
from torch import Tensor


def soft_f_beta(logits: Tensor, targets: Tensor, *, beta: float = 2.0) -> Tensor:
    """Return 1 - F-beta of each sample, with probabilities in place of decisions.

    F = ((1 + beta^2) hits + s) / (sum p + beta^2 sum t + s) with hits = sum p t and smoothing s = max(0, 1 - sum t).
    With at least one label, s is 0 and F is exact. Without labels the loss is sum p / (sum p + 1): 0 for an empty
    answer, growing with each probability. A small s would make it a step there: flat except next to 0.

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C).
        beta: weight of recall relative to precision, above 0.

    Returns:
        Loss of each sample in [0, 1], float32 (B,).
    """
    probs, targets = torch.sigmoid(logits.float()), targets.float()
    hits, labels = (probs * targets).sum(1), targets.sum(1)
    smoothing = (1 - labels).clamp(min=0)
    return 1 - ((1 + beta**2) * hits + smoothing) / (probs.sum(1) + beta**2 * labels + smoothing)
