"""Helpers of losses over several targets (or questions) a sample."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from imettk.metrics.values import target_weights


def mean_over_targets(losses: Tensor, weights: str) -> Tensor:
    """Return the weighted mean of each sample's losses, (B, T) -> (B,); `weights` in the format of `target_weights`."""
    if not weights:
        return losses.mean(1)
    return losses @ losses.new_tensor(target_weights(weights, losses.shape[1]))


def known_targets(loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each target, float32 (B, T); an unknown target, NaN, gives 0 and no gradient.

    Args:
        loss: (outputs, targets) -> losses, all float32 (B, T).
    """
    outputs, targets = outputs.float(), targets.float()
    unknown = targets.isnan()
    # Filled before the loss, not only after it: the gradient of a masked NaN is still NaN.
    return loss(outputs, targets.masked_fill(unknown, 0)).masked_fill(unknown, 0)
