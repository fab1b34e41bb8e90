"""Cumulative cross-entropy over grades."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from imettk.losses.levels import levels_of


def cumulative(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of being above each grade, for all rows alike (as CORAL, Cao et al. 2020, arXiv 1901.07884, eq. 4).

    CORAL's questions share their weights, so that probabilities fall from grade to grade; here they are products of
    conditional ones, which fall as well.

    Args:
        logits: of being above a grade if the one before is reached, (B, L).
        targets: grades, int64 (B,), or the shares that are above each, float (B, L).

    Returns:
        The mean over questions of each sample, float32 (B,).
    """
    logits, levels = logits.float(), levels_of(targets, logits.shape[1])
    log_above = logsigmoid(logits).cumsum(1)
    failed = logsigmoid(-logits)  # at each question, if it is reached
    log_below = [failed[:, 0]]  # below a grade are those who fail at it, or before
    for place in range(1, logits.shape[1]):
        log_below.append(torch.logaddexp(log_below[-1], log_above[:, place - 1] + failed[:, place]))
    return -(levels * log_above + (1 - levels) * torch.stack(log_below, 1)).mean(1)
