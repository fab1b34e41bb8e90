"""Heads: features to logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from imettk.models.pools import make_pools


class Outputs(NamedTuple):
    """Outputs of a network for B images.

    Attributes:
        logits: (B, C); for a network with embeddings the cosines to class centres, (B, 0) if it has no centres; in
            training with several masks of the last dropout, (masks, B, C).
        embeddings: unit norm, float32 (B, D), or None.
        aux_logits: logits of a second classifier, (B, C), or None.
    """

    logits: Tensor
    embeddings: Tensor | None = None
    aux_logits: Tensor | None = None


class SampledDropout(nn.Module):
    """Dropout with several masks at once (multi-sample dropout, arXiv 1905.09788).

    In training, features (B, F) become (samples, B, F), and so do the logits of the linear layer behind it. The loss is
    averaged over the masks: to average the logits instead would only be a weaker dropout.
    """

    def __init__(self, p: float, samples: int) -> None:
        super().__init__()
        self.p, self.samples = p, samples

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return features
        return functional.dropout(features.expand(self.samples, *features.shape), self.p)


def make_dropout(p: float, samples: int) -> nn.Module:
    """Return the dropout before a head's last linear layer.

    Args:
        samples: number of masks, at least 1.
    """
    return nn.Dropout(p) if samples == 1 else SampledDropout(p, samples)


class LinearHead(nn.Module):
    """Dropout and a linear layer.

    Attributes:
        class_layers: name prefixes of per-class parameters; every head has it.
    """

    class_layers: tuple[str, ...] = ("linear.",)

    def __init__(self, num_features: int, num_classes: int, *, dropout: float = 0.0, dropout_samples: int = 1) -> None:
        super().__init__()
        self.dropout = make_dropout(dropout, dropout_samples)
        self.linear = nn.Linear(num_features, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Turn features (B, F) into logits (B, C)."""
        return self.linear(self.dropout(features))


class PooledHead(nn.Module):
    """A pool and a LayerNorm for each feature map, dropout and a linear layer.

    Maps of several levels, and pools, differ in scale, and networks such as ConvNeXt have their own last norm behind
    their own pool.

    Args:
        num_features: channels of each map.
        pool: a row of POOLS.
    """

    class_layers: tuple[str, ...] = ("linear.",)

    def __init__(
        self,
        num_features: Sequence[int],
        num_classes: int,
        *,
        pool: str = "average_max",
        dropout: float = 0.0,
        dropout_samples: int = 1,
    ) -> None:
        super().__init__()
        pools = make_pools(pool, num_features)
        self.pools = nn.ModuleList(pools)
        self.norms = nn.ModuleList(nn.LayerNorm(module.width) for module in pools)
        self.dropout = make_dropout(dropout, dropout_samples)
        self.linear = nn.Linear(sum(module.width for module in pools), num_classes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Turn maps (B, F, H, W), one per entry of `num_features`, into logits (B, C)."""
        parts = [norm(pool(features)) for features, pool, norm in zip(maps, self.pools, self.norms, strict=True)]
        return self.linear(self.dropout(torch.cat(parts, 1)))


class MapHead(nn.Module):
    """Pooling of one or more feature maps, followed by a linear layer.

    Args:
        num_features: channels of each map.
        wide: average and maximum of each map and a hidden layer (HPA 2018, first place), instead of the average after a
            ReLU (iMet 2019).
        dropout_samples: masks of the last dropout.
    """

    def __init__(
        self,
        num_features: Sequence[int],
        num_classes: int,
        *,
        wide: bool,
        hidden: int = 1024,
        dropout: float = 0.0,
        dropout_samples: int = 1,
    ) -> None:
        super().__init__()
        self._wide = wide
        width = sum(num_features) * (2 if wide else 1)
        last = [make_dropout(dropout, dropout_samples), nn.Linear(hidden if wide else width, num_classes)]
        first: list[nn.Module] = []
        if wide:
            first = [nn.BatchNorm1d(width), nn.Dropout(dropout), nn.Linear(width, hidden), nn.ReLU()]
            first.append(nn.BatchNorm1d(hidden))
        self.layers = nn.Sequential(*first, *last)
        self.class_layers = (f"layers.{len(self.layers) - 1}.",)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Turn maps (B, F, H, W), one per entry of `num_features`, into logits (B, C)."""
        parts = []
        for features in maps:
            # amax, not a pooling layer: the backward pass of AdaptiveMaxPool2d is not deterministic on a GPU.
            parts += [features.mean((2, 3)), features.amax((2, 3))] if self._wide else [features.relu().mean((2, 3))]
        return self.layers(torch.cat(parts, 1))


def relu_head(num_features: Sequence[int], num_classes: int, **settings: Any) -> MapHead:
    """Return a head of averages after a ReLU, dropout and a linear layer."""
    return MapHead(num_features, num_classes, wide=False, **settings)


def wide_head(num_features: Sequence[int], num_classes: int, **settings: Any) -> MapHead:
    """Return a head of averages and maxima and two linear layers."""
    return MapHead(num_features, num_classes, wide=True, **settings)


def log_probs_by_part(logits: Tensor, parts: Sequence[int]) -> Tensor:
    """Turn logits (..., C) into log-probabilities that are normalised in each part, float32 (..., C).

    Args:
        parts: sizes of the parts, C in all.
    """
    return torch.cat([part.log_softmax(-1) for part in logits.float().split(list(parts), -1)], -1)
