"""Absolute error over targets."""

from torch import Tensor

from imettk.losses.by_target import mean_over_targets


def l1(outputs: Tensor, targets: Tensor, *, weights: str = "") -> Tensor:
    """Mean absolute error of each sample: scaled numbers (B, T) both -> float32 (B,)."""
    return mean_over_targets((outputs.float() - targets.float()).abs(), weights)
