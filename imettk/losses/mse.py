"""Squared error over targets."""

from torch import Tensor

from imettk.losses.by_target import known_targets, mean_over_targets


def mse(outputs: Tensor, targets: Tensor, *, weights: str = "") -> Tensor:
    """Mean squared error of each sample: scaled numbers (B, T) both -> float32 (B,)."""
    losses = known_targets(lambda given, truth: (given - truth) ** 2, outputs, targets)
    return mean_over_targets(losses, weights)
