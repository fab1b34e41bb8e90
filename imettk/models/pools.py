"""Pools: a feature map (B, F, H, W) to the features of the image (B, width)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from imettk.config.choices import POOLS
from imettk.device import without_autocast

ATTENTION_WIDTH = 128  # L of the paper's experiments


class Pool(nn.Module):
    """Base of the pools.

    Args:
        num_features: F, the channels of the map.
        times: values per channel.

    Attributes:
        width: number of values per image.
    """

    def __init__(self, num_features: int, *, times: int = 1) -> None:
        super().__init__()
        self.width = times * num_features


class AveragePool(Pool):
    """Mean of each channel of a map."""

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, F, H, W) to (B, F)."""
        return features.mean((2, 3))


class MaxPool(Pool):
    """Maximum of each channel of a map."""

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, F, H, W) to (B, F)."""
        # amax, not a pooling layer: the backward pass of AdaptiveMaxPool2d is not deterministic on a GPU.
        return features.amax((2, 3))


class AverageMaxPool(Pool):
    """Mean and maximum of each channel of a map."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features, times=2)

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, F, H, W) to (B, 2 F), the means first."""
        return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)


class GemPool(Pool):
    """Generalised mean of each channel with a learned power, initially 3 (arXiv 1711.02512, eq. 3)."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.power = nn.Parameter(torch.tensor(3.0))

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, F, H, W) to (B, F), float32."""
        # In float32: in float16 powers of small numbers underflow to 0, where the gradient of the root is infinite.
        with without_autocast(features.device):
            return features.float().clamp(min=1e-6).pow(self.power).mean((2, 3)).pow(1 / self.power)


class AttentionPool(Pool):
    """Mean over positions with learned weights, softmax(w tanh(V f)) (arXiv 1802.04712, eq. 7 and 8).

    Unlike attention with keys and values of its own, it has few new weights and returns the backbone's features as they
    are. It starts as the average, since w is 0 at first.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        score = nn.Linear(ATTENTION_WIDTH, 1, bias=False)  # softmax would cancel a bias
        nn.init.zeros_(score.weight)
        self.score = nn.Sequential(nn.Linear(num_features, ATTENTION_WIDTH), nn.Tanh(), score)

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, F, H, W) to (B, F)."""
        positions = features.flatten(2)
        weights = self.score(positions.mT).softmax(1)
        return (positions @ weights.to(positions.dtype)).squeeze(2)


def make_pools(name: str, num_features: Sequence[int]) -> list[Pool]:
    """Return the pool with this name, a row of POOLS, for each of several maps.

    Args:
        num_features: channels of each map.
    """
    return [POOLS[name].load()(channels) for channels in num_features]
