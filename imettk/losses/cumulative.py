"""Cumulative cross-entropy over grades (after CORAL)."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from imettk.losses.levels import levels_of


def cumulative(logits: Tensor, targets: Tensor) -> Tensor:
    """Return cross-entropy of being above each grade, over all rows (after CORAL, arXiv 1901.07884, eq. 4).

    CORAL's thresholds share their weights, which makes the probabilities fall from grade to grade. Here they are
    products of conditional probabilities, which fall as well.

    Args:
        logits: of being above a grade, given that the grade is reached, (B, L).
        targets: grades, int64 (B,), or the probability of being above each, float (B, L).

    Returns:
        Mean over thresholds of each sample, float32 (B,).
    """
    logits, levels = logits.float(), levels_of(targets, logits.shape[1])
    log_above = logsigmoid(logits).cumsum(1)
    # 1 - prod(p) in logarithms: log(1 - exp(log_above)) would lose every digit where log_above is near 0.
    log_stop = logsigmoid(-logits)  # of stopping at each grade, given that it is reached
    log_below = [log_stop[:, 0]]
    for grade in range(1, logits.shape[1]):
        log_below.append(torch.logaddexp(log_below[-1], log_above[:, grade - 1] + log_stop[:, grade]))
    return -(levels * log_above + (1 - levels) * torch.stack(log_below, 1)).mean(1)
