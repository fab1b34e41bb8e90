"""Conditional cross-entropy over grades (CORN)."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from imettk.losses.levels import levels_of


def corn(logits: Tensor, targets: Tensor) -> Tensor:
    """Return cross-entropy of each threshold, over the rows that reach it (CORN, Shi et al., arXiv 2111.08851, eq. 5).

    Args:
        logits: of being above a grade, given that the grade is reached, (B, L).
        targets: grades, int64 (B,), or the probability of being above each, float (B, L).

    Returns:
        Mean over thresholds of each sample, float32 (B,); a threshold that is not reached counts as 0.
    """
    logits, above = logits.float(), levels_of(targets, logits.shape[1])
    reached = torch.cat([torch.ones_like(above[:, :1]), above[:, :-1]], 1)
    return -(above * logsigmoid(logits) + (reached - above) * logsigmoid(-logits)).mean(1)
