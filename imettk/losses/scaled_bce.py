"""Binary cross-entropy over targets whose range is [0, 1]."""

from functools import partial

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from imettk.losses.by_target import known_targets, mean_over_targets


def scaled_bce(logits: Tensor, targets: Tensor, *, weights: str = "") -> Tensor:
    """Cross-entropy of a number as if it were a probability (PetFinder Pawpularity 2021's winners).

    Args:
        logits: (B, T).
        targets: numbers as shares of the range that the training rows have, in [0, 1], (B, T).
        weights: of the targets.

    Returns:
        The mean over the targets of each sample, float32 (B,).
    """
    losses = known_targets(partial(binary_cross_entropy_with_logits, reduction="none"), logits, targets)
    return mean_over_targets(losses, weights)
