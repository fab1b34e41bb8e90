"""Binary cross-entropy over the present labels and the hardest absent ones."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def hard_negative_bce(logits: Tensor, targets: Tensor, *, share: float = 0.25) -> Tensor:
    """Binary cross-entropy in which only the hardest absent labels count (after Shrivastava et al., arXiv 1604.03540).

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C). Those above 0.5 are present; soft ones keep their value in the loss.
        share: of a sample's absent labels that count, in (0, 1]: those of largest loss, rounded, at least one.

    Returns:
        Mean over the labels of each sample that count, float32 (B,).
    """
    present = targets > 0.5
    losses = binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none")
    # Losses are 0 and above: with -1 the present labels rank behind all absent ones.
    order = losses.detach().masked_fill(present, -1).argsort(dim=1, descending=True, stable=True)
    num_hard = (share * (~present).sum(1, keepdim=True)).round().clamp(min=1)
    hard = torch.arange(logits.shape[1], device=logits.device) < num_hard
    # Without absent labels the first of the ranks is a present one, which counts anyway.
    counted = torch.empty_like(hard).scatter_(1, order, hard) | present
    return losses.where(counted, 0).sum(1) / counted.sum(1)
