"""Triplets: an anchor nearer to an image of its own identity than to one of any other."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from imettk.config import EmbeddingConfig
from imettk.losses.distances import Distance, distances_between

Mining = Literal["batch_hard", "batch_all", "semi_hard", "random"]
ANCHORS = 16  # of `batch_all` that are looked at in one go


def triplet(
    embeddings: Tensor,
    targets: Tensor,
    *,
    mining: Mining = "batch_hard",
    distance: Distance = "cosine",
    margin: float | None = 0.3,
    violated_only: bool = False,
) -> Tensor:
    """Mean over triplets of the batch of relu(to the positive - to the negative + margin).

    Args:
        embeddings: (B, D).
        targets: identities, int64 (B,); one that stands alone in the batch has no positive, and is no anchor.
        mining: `batch_hard` takes each anchor's farthest positive and nearest negative, `batch_all` every triplet, in a
            mean over those that are not 0 (both arXiv 1703.07737); `semi_hard` each positive with the nearest negative
            behind it, or the farthest where there is none (after arXiv 1503.03832); `random` one of each an anchor.
        margin: None is the soft one, softplus in place of relu (arXiv 1703.07737); no triplet is 0 then.
        violated_only: the mean is over the chosen triplets that are not 0, as it always is for `batch_all`.

    Returns:
        Shares of the samples, float32 (B,), whose mean is the loss; all 0, with gradients, where there is no triplet.
    """
    far = distances_between(embeddings, distance)
    same = targets[:, None] == targets[None, :]
    positive = same & ~torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    if mining == "batch_all":
        sums, total = _all_triplets(far, positive, ~same, margin)
    elif mining == "semi_hard":
        sums, total = _semi_hard(far, positive, ~same, margin, violated_only)
    else:
        valid = positive.any(1) & (~same).any(1)
        if mining == "batch_hard":
            to_positive = far.masked_fill(~positive, -torch.inf).amax(1)
            to_negative = far.masked_fill(same, torch.inf).amin(1)
        else:
            to_positive, to_negative = _random_one(far, positive), _random_one(far, ~same)
        # Anchors without a triplet hold infinities, which must not reach the gradient.
        gap = torch.where(valid, to_positive.where(valid, 0) - to_negative.where(valid, 0), 0)
        sums = torch.where(valid, _hinge(gap, margin), 0)
        total = _counted(sums, valid, margin, violated_only)
    # The last term is 0, or NaN where a distance is: a step must see that also where no triplet takes it.
    return sums * len(targets) / total.clamp(min=1) + 0 * far.sum(1)


def settings(embedding: EmbeddingConfig, counts: np.ndarray | None) -> dict[str, Any]:
    """Return the parameters that a recipe's section `embedding` gives; see `losses.output_loss`."""
    return {
        "mining": embedding.mining,
        "distance": embedding.distance,
        "margin": None if embedding.soft_margin else embedding.margin,
        "violated_only": embedding.violated_only,
    }


def _hinge(gap: Tensor, margin: float | None) -> Tensor:
    return softplus(gap) if margin is None else (gap + margin).relu()


def _counted(losses: Tensor, valid: Tensor, margin: float | None, violated_only: bool) -> Tensor:
    """How many triplets the mean is over."""
    # The soft loss of a distant negative is 0 by rounding alone.
    return ((losses > 0) if violated_only and margin is not None else valid).sum()


def _all_triplets(far: Tensor, positive: Tensor, negative: Tensor, margin: float | None) -> tuple[Tensor, Tensor]:
    """Of each anchor the sum of its triplets' losses, (B,), and how many count in all.

    A few anchors at a time; the gradient still keeps 5 bytes of every triplet: 80 MiB for B = 256.
    """
    sums, counts = [], []
    for first in range(0, len(far), ANCHORS):
        some = slice(first, first + ANCHORS)
        losses = _hinge(far[some, :, None] - far[some, None, :], margin)
        valid = positive[some, :, None] & negative[some, None, :]
        losses = losses * valid
        sums.append(losses.sum((1, 2)))
        counts.append(_counted(losses, valid, margin, violated_only=True))
    return torch.cat(sums), torch.stack(counts).sum()


def _semi_hard(
    far: Tensor, positive: Tensor, negative: Tensor, margin: float | None, violated_only: bool
) -> tuple[Tensor, Tensor]:
    """Of each anchor the sum over its positives, (B,), and how many count in all."""
    known = far.detach()
    # In order of distance, all that are no negatives last: no (B, B, B) is needed to find the first behind a positive.
    ranked, order = known.masked_fill(~negative, torch.inf).sort(1)
    place = torch.searchsorted(ranked, known, right=True)
    last = negative.sum(1, keepdim=True) - 1
    chosen = far.gather(1, order.gather(1, place.minimum(last).clamp(min=0)))
    valid = positive & negative.any(1, keepdim=True)
    gap = torch.where(valid, far - chosen, 0)
    losses = torch.where(valid, _hinge(gap, margin), 0)
    return losses.sum(1), _counted(losses, valid, margin, violated_only)


def _random_one(far: Tensor, among: Tensor) -> Tensor:
    """The distance of each anchor to a random one of these, (B,); anything where there is none."""
    chosen = torch.rand_like(far).masked_fill(~among, -1).argmax(1)
    return far.gather(1, chosen[:, None])[:, 0]
