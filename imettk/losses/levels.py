"""Grades as answers to a chain of questions."""

from torch import Tensor


def levels_of(targets: Tensor, num_levels: int) -> Tensor:
    """Return whether each grade is above each but the highest, float32 (B, L), of int64 (B,); soft ones stay."""
    if targets.is_floating_point():
        return targets.float()
    return (targets[:, None] > targets.new_tensor(range(num_levels))).float()
