"""Losses of several targets as one."""

from torch import Tensor

from imettk.metrics.values import target_weights


def mean_over_targets(losses: Tensor, weights: str) -> Tensor:
    """Return the weighted mean of each sample's losses, (B, T) -> (B,); weights as `target_weights` takes them."""
    if not weights:
        return losses.mean(1)
    return losses @ losses.new_tensor(target_weights(weights, losses.shape[1]))
