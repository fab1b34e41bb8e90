"""Huber's loss over targets."""

from functools import partial

from torch import Tensor
from torch.nn.functional import huber_loss

from imettk.losses.by_target import known_targets, mean_over_targets


def huber(outputs: Tensor, targets: Tensor, *, delta: float = 1.0, weights: str = "") -> Tensor:
    """Return half the squared error up to `delta`, and a linear error beyond it (Huber 1964).

    Args:
        outputs, targets: scaled numbers, (B, T).
        delta: where the error becomes linear, in units of the targets' spread, above 0.
        weights: of the targets, in the format of `target_weights`.

    Returns:
        Mean over targets of each sample, float32 (B,).
    """
    losses = known_targets(partial(huber_loss, reduction="none", delta=delta), outputs, targets)
    return mean_over_targets(losses, weights)
