"""Absolute error over targets."""

from torch import Tensor

from imettk.losses.by_target import known_targets, mean_over_targets


def l1(outputs: Tensor, targets: Tensor, *, weights: str = "") -> Tensor:
    """Return the mean absolute error of each sample: scaled numbers, both (B, T) -> float32 (B,)."""
    losses = known_targets(lambda known_outputs, truth: (known_outputs - truth).abs(), outputs, targets)
    return mean_over_targets(losses, weights)
