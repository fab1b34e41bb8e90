"""Distances between all embeddings of a batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Distance = Literal["cosine", "euclidean"]


def distances_between(embeddings: Tensor, distance: Distance) -> Tensor:
    """Of each pair, float32 (B, B): 1 - cosine, or euclidean, whose gradient is 0 where two are alike.

    In float32 whatever comes in, also under autocast: differences of near embeddings have no digits in float16.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        given = embeddings.float()
        if distance == "cosine":
            unit = torch.nn.functional.normalize(given)
            return 1 - unit @ unit.T
        squares = given.square().sum(1)
        squared = squares[:, None] + squares[None, :] - 2 * given @ given.T
        # Rounding leaves a little where embeddings are the same, and the root's gradient is infinite at 0.
        same = squared <= 1e-6 * (squares[:, None] + squares[None, :])
        return squared.masked_fill(same, 1).sqrt().masked_fill(same, 0)
