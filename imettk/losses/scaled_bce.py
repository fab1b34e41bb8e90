"""Binary cross-entropy over numbers scaled to [0, 1]."""

from functools import partial

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from imettk.losses.by_target import known_targets, mean_over_targets


def scaled_bce(logits: Tensor, targets: Tensor, *, weights: str = "") -> Tensor:
    """Return cross-entropy of numbers treated as probabilities (PetFinder Pawpularity 2021's winners).

    Args:
        logits: (B, T).
        targets: numbers relative to the range of the training rows, in [0, 1], (B, T).
        weights: of the targets, in the format of `target_weights`.

    Returns:
        Mean over targets of each sample, float32 (B,).
    """
    losses = known_targets(partial(binary_cross_entropy_with_logits, reduction="none"), logits, targets)
    return mean_over_targets(losses, weights)
