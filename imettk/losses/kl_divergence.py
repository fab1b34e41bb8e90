"""Kullback-Leibler divergence of predicted probabilities from shares of votes."""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax


def kl_divergence(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the divergence KL(votes || probabilities) of each sample (Kullback and Leibler 1951).

    It is cross-entropy minus the entropy of the shares, which has no gradient: a network that predicts the shares has a
    loss of 0. HMS 2024's winners trained with it.

    Args:
        logits: (B, C).
        targets: shares that sum to 1, (B, C).

    Returns:
        Loss of each sample in nats, float32 (B,).
    """
    shares = targets.float()
    # xlogy: 0 log 0 is 0, for labels without votes.
    losses: Tensor = torch.special.xlogy(shares, shares) - shares * log_softmax(logits.float(), 1)
    return losses.sum(1)
