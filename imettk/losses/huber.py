"""Huber's loss over targets."""

from functools import partial

from torch import Tensor
from torch.nn.functional import huber_loss

from imettk.losses.by_target import known_targets, mean_over_targets


def huber(outputs: Tensor, targets: Tensor, *, delta: float = 1.0, weights: str = "") -> Tensor:
    """Half the squared error up to `delta`, a line beyond it (Huber 1964).

    Args:
        outputs, targets: scaled numbers, (B, T).
        delta: in spreads of the targets, above 0.
        weights: of the targets.

    Returns:
        The mean over the targets of each sample, float32 (B,).
    """
    losses = known_targets(partial(huber_loss, reduction="none", delta=delta), outputs, targets)
    return mean_over_targets(losses, weights)
