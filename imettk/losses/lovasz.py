"""Symmetric Lovász hinge over labels."""

import torch
from torch import Tensor


def lovasz(logits: Tensor, targets: Tensor) -> Tensor:
    """Return a surrogate of each class's Jaccard index over the batch (Berman et al., arXiv 1705.08790, alg. 1).

    Symmetric, as in the winning solution of HPA 2018: the mean of the Lovász hinge for presence and for absence (with
    negated logits), then the mean over classes. The hinge is max(0, 1 - logit * sign), as in the paper and in that
    solution's published code, where the common alternative ELU + 1 is commented out.

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C). The Jaccard index is defined for binary labels, so targets above 0.5
            count as present.

    Returns:
        Share of each sample, float32 (B,): B times the contribution of its hinges, so that the mean is the loss.
    """
    logits, present = logits.float(), targets > 0.5
    errors = 1 - torch.where(present, logits, -logits)
    # Negating both logits and labels leaves the errors unchanged, so one sort serves both halves.
    order = errors.detach().argsort(dim=0, descending=True, stable=True)
    ranked = present.gather(0, order)
    steps = (_steps(ranked) + _steps(~ranked)) / 2
    # Weights are scattered to the samples, instead of gathering errors by rank: the backward pass is then a product,
    # without scattered sums, which are not deterministic on a GPU.
    weights = torch.empty_like(steps).scatter_(0, order, steps)
    return len(logits) * (weights * errors.relu()).mean(1)


def _steps(present: Tensor) -> Tensor:
    """Return the increase of 1 - Jaccard index with each further mistake, worst first; `present` is bool (B, C)."""
    num_mistakes = torch.arange(1, len(present) + 1, device=present.device)[:, None]
    # Integers: exact, and cumulative sums of floats are not deterministic on a GPU.
    union = present.sum(0) + (~present).cumsum(0)
    loss = num_mistakes / union
    return torch.diff(loss, dim=0, prepend=torch.zeros_like(loss[:1]))
