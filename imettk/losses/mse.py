"""Squared error over targets."""

from torch import Tensor

from imettk.losses.by_target import known_targets, mean_over_targets


def mse(outputs: Tensor, targets: Tensor, *, weights: str = "") -> Tensor:
    """Return the mean squared error of each sample: scaled numbers, both (B, T) -> float32 (B,)."""
    losses = known_targets(lambda known_outputs, truth: (known_outputs - truth) ** 2, outputs, targets)
    return mean_over_targets(losses, weights)
