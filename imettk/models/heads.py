"""Heads: features to logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Outputs(NamedTuple):
    """Outputs of a network for B images.

    Attributes:
        logits: (B, C); for a network with embeddings the cosines to class centres, (B, 0) if it has no centres.
        embeddings: unit norm, float32 (B, D), or None.
        aux_logits: logits of a second classifier, (B, C), or None.
    """

    logits: Tensor
    embeddings: Tensor | None = None
    aux_logits: Tensor | None = None


class LinearHead(nn.Module):
    """Dropout and a linear layer.

    Attributes:
        class_layers: name prefixes of per-class parameters; every head has it.
    """

    class_layers: tuple[str, ...] = ("linear.",)

    def __init__(self, num_features: int, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(num_features, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Turn features (B, F) into logits (B, C)."""
        return self.linear(self.dropout(features))


class MapHead(nn.Module):
    """Pooling of one or more feature maps, followed by a linear layer.

    Args:
        num_features: channels of each map.
        wide: average and maximum of each map and a hidden layer (HPA 2018, first place), instead of the average after a
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
        """Turn maps (B, F, H, W), one per entry of `num_features`, into logits (B, C)."""
        parts = []
        for features in maps:
            # amax, not a pooling layer: the backward pass of AdaptiveMaxPool2d is not deterministic on a GPU.
            parts += [features.mean((2, 3)), features.amax((2, 3))] if self._wide else [features.relu().mean((2, 3))]
        return self.layers(torch.cat(parts, 1))


def relu_head(num_features: Sequence[int], num_classes: int, *, dropout: float = 0.0) -> MapHead:
    """Return a head of averages after a ReLU, dropout and a linear layer."""
    return MapHead(num_features, num_classes, wide=False, dropout=dropout)


def wide_head(num_features: Sequence[int], num_classes: int, *, hidden: int = 1024, dropout: float = 0.0) -> MapHead:
    """Return a head of averages and maxima and two linear layers."""
    return MapHead(num_features, num_classes, wide=True, hidden=hidden, dropout=dropout)


def log_probs_by_part(logits: Tensor, parts: Sequence[int]) -> Tensor:
    """Turn logits (B, C) into log-probabilities that are normalised in each part, float32 (B, C).

    Args:
        parts: sizes of the parts, C in all.
    """
    return torch.cat([part.log_softmax(1) for part in logits.float().split(list(parts), 1)], 1)
