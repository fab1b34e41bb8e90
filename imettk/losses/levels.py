"""Grades as a chain of binary questions: is the row above grade 0, above grade 1, ...?"""

from torch import Tensor


def levels_of(targets: Tensor, num_levels: int) -> Tensor:
    """Return which thresholds each grade lies above, float32 (B, L), for grades int64 (B,) or soft targets (B, L)."""
    if targets.is_floating_point():
        return targets.float()
    return (targets[:, None] > targets.new_tensor(range(num_levels))).float()
