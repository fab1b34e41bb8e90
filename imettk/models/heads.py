"""From features to logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Outputs(NamedTuple):
    """What a network says of B images.

    Attributes:
        logits: (B, C); of a network with embeddings the cosines to its classes, (B, 0) where it knows none.
        embeddings: of unit norm, float32 (B, D), or None.
        aux_logits: of a second classifier, (B, C), or None.
    """

    logits: Tensor
    embeddings: Tensor | None = None
    aux_logits: Tensor | None = None


class LinearHead(nn.Module):
    """Dropout, linear.

    Attributes:
        class_layers: how the names of parameters begin that belong to single classes; of all heads.
    """

    class_layers: tuple[str, ...] = ("linear.",)

    def __init__(self, num_features: int, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(num_features, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, F) -> logits (B, C)."""
        return self.linear(self.dropout(features))


class MapHead(nn.Module):
    """Pools one or more maps of features, joins what comes of them, and ends in a linear layer.

    Args:
        num_features: channels of each map.
        wide: average and maximum of each map, and a hidden layer (HPA 2018, first place); else the average after a
            ReLU (iMet 2019).
    """

    def __init__(
        self, num_features: Sequence[int], num_classes: int, *, wide: bool, hidden: int = 1024, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self._wide = wide
        width = sum(num_features) * (2 if wide else 1)
        last = [nn.Dropout(dropout), nn.Linear(hidden if wide else width, num_classes)]
        first: list[nn.Module] = []
        if wide:
            first = [nn.BatchNorm1d(width), nn.Dropout(dropout), nn.Linear(width, hidden), nn.ReLU()]
            first.append(nn.BatchNorm1d(hidden))
        self.layers = nn.Sequential(*first, *last)
        self.class_layers = (f"layers.{len(self.layers) - 1}.",)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, F, H, W), as many as `num_features` has -> logits (B, C)."""
        parts = []
        for each in maps:
            # amax, not a pooling layer: the backward pass of AdaptiveMaxPool2d has no deterministic form on a GPU.
            parts += [each.mean((2, 3)), each.amax((2, 3))] if self._wide else [each.relu().mean((2, 3))]
        return self.layers(torch.cat(parts, 1))


def relu_head(num_features: Sequence[int], num_classes: int, *, dropout: float = 0.0) -> MapHead:
    """Average the maps after a ReLU; dropout, linear."""
    return MapHead(num_features, num_classes, wide=False, dropout=dropout)


def wide_head(num_features: Sequence[int], num_classes: int, *, hidden: int = 1024, dropout: float = 0.0) -> MapHead:
    """Join average and maximum of the maps, and end in two layers."""
    return MapHead(num_features, num_classes, wide=True, hidden=hidden, dropout=dropout)


def log_probs_by_part(logits: Tensor, parts: Sequence[int]) -> Tensor:
    """Turn logits (B, C) into logarithms of probabilities that sum to 1 in each part, float32 (B, C).

    Args:
        parts: their sizes, C in all.
    """
    return torch.cat([part.log_softmax(1) for part in logits.float().split(list(parts), 1)], 1)
