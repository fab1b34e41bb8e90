"""Conditional cross-entropy over grades."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from imettk.losses.levels import levels_of


def corn(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each question for the rows that reach it (CORN, Shi et al., arXiv 2111.08851, eq. 5).

    Args:
        logits: of being above a grade if the one before is reached, (B, L).
        targets: grades, int64 (B,), or the shares that are above each, float (B, L).

    Returns:
        The mean over questions of each sample, float32 (B,); one that is not reached counts as 0.
    """
    logits, above = logits.float(), levels_of(targets, logits.shape[1])
    reached = torch.cat([torch.ones_like(above[:, :1]), above[:, :-1]], 1)
    return -(above * logsigmoid(logits) + (reached - above) * logsigmoid(-logits)).mean(1)
