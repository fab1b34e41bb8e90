"""Asymmetric loss over labels."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

# Not timm's: some of the versions that setup.py allows only return a sum over the batch, and all of them clamp
# probabilities at 1e-8, so a present label with a logit below -18, the worst miss, would get no gradient.


def asymmetric(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_positive: float = 1.0,
    gamma_negative: float = 4.0,
    clip: float = 0.05,
) -> Tensor:
    """Return binary cross-entropy that down-weights easy labels, above all absent ones (arXiv 2009.14119).

    For targets of 0 and 1 this is eq. 7. Soft targets interpolate the probability of the truth and gamma, as in timm.

    Args:
        logits: (B, C).
        targets: uint8 or float in [0, 1], (B, C).
        gamma_positive: focusing exponent of present labels: 0, or at least 1 (between the two, the gradient of a
            perfectly predicted label is infinite).
        gamma_negative: the same for absent labels.
        clip: absent labels with a probability up to this cost nothing, in [0, 1).

    Returns:
        Mean over the labels of each sample, float32 (B,).
    """
    logits, targets = logits.float(), targets.float()
    prob, prob_absent = torch.sigmoid(logits), torch.sigmoid(-logits)
    # The bound of 1e-30 only matters for clip 0 and logits above 69: log and gradient stay finite, even times a loss
    # scale.
    log_absent = (prob_absent + clip).clamp(1e-30, 1).log()
    cross_entropy = -(targets * logsigmoid(logits) + (1 - targets) * log_absent)
    miss = targets * prob_absent + (1 - targets) * (prob - clip).clamp(min=0)
    gamma = targets * gamma_positive + (1 - targets) * gamma_negative
    return (miss**gamma * cross_entropy).mean(1)
