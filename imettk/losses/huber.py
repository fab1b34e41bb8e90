"""Huber's loss over targets."""

from torch import Tensor
from torch.nn.functional import huber_loss

from imettk.losses.by_target import mean_over_targets


def huber(outputs: Tensor, targets: Tensor, *, delta: float = 1.0, weights: str = "") -> Tensor:
    """Half the squared error up to `delta`, a line beyond it (Huber 1964).

    Args:
        outputs, targets: scaled numbers, (B, T).
        delta: in spreads of the targets, above 0.
        weights: of the targets.

    Returns:
        The mean over the targets of each sample, float32 (B,).
    """
    return mean_over_targets(huber_loss(outputs.float(), targets.float(), reduction="none", delta=delta), weights)
