"""Losses of several targets as one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from imettk.metrics.values import target_weights


def mean_over_targets(losses: Tensor, weights: str) -> Tensor:
    """Return the weighted mean of each sample's losses, (B, T) -> (B,); weights as `target_weights` takes them."""
    if not weights:
        return losses.mean(1)
    return losses @ losses.new_tensor(target_weights(weights, losses.shape[1]))


def known_targets(loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
    """Return a loss of each target, float32 (B, T): 0, and without a gradient, where a target is NaN for unknown.

    Args:
        loss: of outputs and targets, float32 (B, T) both.
    """
    outputs, targets = outputs.float(), targets.float()
    unknown = targets.isnan()
    return loss(outputs, targets.masked_fill(unknown, 0)).masked_fill(unknown, 0)
