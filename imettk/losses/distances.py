"""Distances between all embeddings of a batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Distance = Literal["cosine", "euclidean"]


def distances_between(embeddings: Tensor, distance: Distance) -> Tensor:
    """Return the distance of each pair, float32 (B, B): 1 - cosine, or euclidean.

    Computed in float32 even under autocast: in float16 the difference of close embeddings has no significant digits.
        The
    euclidean distance of equal embeddings has gradient 0.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        exact = embeddings.float()
        if distance == "cosine":
            unit = torch.nn.functional.normalize(exact)
            return 1 - unit @ unit.T
        squares = exact.square().sum(1)
        squared = squares[:, None] + squares[None, :] - 2 * exact @ exact.T
        # Equal embeddings differ by rounding error, and the gradient of the root is infinite at 0: both are masked.
        same = squared <= 1e-6 * (squares[:, None] + squares[None, :])
        return squared.masked_fill(same, 1).sqrt().masked_fill(same, 0)
