"""Binary cross-entropy over the present labels and the hardest absent ones."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def hard_negative_bce(logits: Tensor, targets: Tensor, *, share: float = 0.25) -> Tensor:
    """Return binary cross-entropy over present and the hardest absent labels (after OHEM, arXiv 1604.03540).

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C). Labels above 0.5 are present; soft targets keep their value in the
            loss.
        share: fraction of a sample's absent labels to count, in (0, 1]: the largest losses, at least one.

    Returns:
        Mean over each sample's counted labels, float32 (B,).
    """
    present = targets > 0.5
    losses = binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none")
    # Losses are at least 0, so -1 ranks present labels behind all absent ones.
    order = losses.detach().masked_fill(present, -1).argsort(dim=1, descending=True, stable=True)
    num_hard = (share * (~present).sum(1, keepdim=True)).round().clamp(min=1)
    hard = torch.arange(logits.shape[1], device=logits.device) < num_hard
    # If no label is absent, the one "hard" label is a present one, which counts anyway.
    counted = torch.empty_like(hard).scatter_(1, order, hard) | present
    return losses.where(counted, 0).sum(1) / counted.sum(1)
