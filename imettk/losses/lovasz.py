"""Symmetric Lovász hinge over labels."""

import torch
from torch import Tensor


def lovasz(logits: Tensor, targets: Tensor) -> Tensor:
    """Surrogate of each class's Jaccard index over the batch (Berman, Triki and Blaschko, arXiv 1705.08790, alg. 1).

    Symmetric, as in the winning solution of Human Protein Atlas 2018: the mean of the Lovász hinge of the labels and
    that of their absence, which has the logits negated; then the mean over classes. The hinge is max(0, 1 - logit *
    sign), as in the paper and that solution's published code, where ELU + 1, another known choice, is commented out.

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C). The Jaccard index knows only present and absent: those above 0.5 are
            present. Logits have their gradient as with such targets.

    Returns:
        Each sample's share, float32 (B,): B times what its hinges add to the loss, so that the mean is the loss.
    """
    logits, present = logits.float(), targets > 0.5
    errors = 1 - torch.where(present, logits, -logits)
    # Negating both logits and labels leaves the errors as they are, so one order serves both halves.
    order = errors.detach().argsort(dim=0, descending=True, stable=True)
    ranked = present.gather(0, order)
    steps = (_steps(ranked) + _steps(~ranked)) / 2
    # Weights go to the samples, not errors to their ranks: the way back is then a product, without scattered sums.
    weights = torch.empty_like(steps).scatter_(0, order, steps)
    return len(logits) * (weights * errors.relu()).mean(1)


def _steps(present: Tensor) -> Tensor:
    """What each further mistake adds to 1 - Jaccard index, of labels, bool (B, C), ordered from the worst error on."""
    num_mistakes = torch.arange(1, len(present) + 1, device=present.device)[:, None]
    # Whole numbers: exact, and their running sums are deterministic on every device.
    union = present.sum(0) + (~present).cumsum(0)
    loss = num_mistakes / union
    return torch.diff(loss, dim=0, prepend=torch.zeros_like(loss[:1]))
