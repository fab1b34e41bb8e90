"""Asymmetric loss over labels."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

# Own code: of the versions of timm that setup.py allows, the older give nothing but a sum over the batch. And all clamp
# probabilities at 1e-8, which leaves a present label with a logit below -18, the worst miss, without gradient.


def asymmetric(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_positive: float = 1.0,
    gamma_negative: float = 4.0,
    clip: float = 0.05,
) -> Tensor:
    """Binary cross-entropy in which easy labels count less, absent ones above all (Ridnik et al., arXiv 2009.14119).

    It is eq. 7 for targets of 0 and 1. Between them it does what timm's does: the targets blend the probabilities of
    the truth, and the gammas.

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C).
        gamma_positive: how much less easy present labels count: 0, or 1 and above (in between, the gradient is infinite
            where a probability is right).
        gamma_negative: the same of absent labels.
        clip: probability up to which absent labels cost nothing, in [0, 1).

    Returns:
        Mean over the labels of each sample, float32 (B,).
    """
    logits, targets = logits.float(), targets.float()
    prob, prob_absent = torch.sigmoid(logits), torch.sigmoid(-logits)
    # At least 1e-30, which matters for a clip of 0 and logits above 69 alone: the log stays finite, and so does its
    # gradient even times a loss scale.
    log_absent = (prob_absent + clip).clamp(1e-30, 1).log()
    cross_entropy = -(targets * logsigmoid(logits) + (1 - targets) * log_absent)
    miss = targets * prob_absent + (1 - targets) * (prob - clip).clamp(min=0)
    gamma = targets * gamma_positive + (1 - targets) * gamma_negative
    return (miss**gamma * cross_entropy).mean(1)
