"""From maps of features to embeddings, and from these to the cosines of class centres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from imettk.config.choices import POOLS
from imettk.device import without_autocast
from imettk.models.heads import Outputs


class AveragePool(nn.Module):
    """The mean of each channel of a map.

    Attributes:
        times: values a channel; of all pools.
    """

    times: ClassVar[int] = 1

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, H, W) -> (B, F)."""
        return features.mean((2, 3))


class AverageMaxPool(nn.Module):
    """Mean and maximum of each channel of a map."""

    times: ClassVar[int] = 2

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, H, W) -> (B, 2 F), the means first."""
        # amax, not a pooling layer: the backward pass of AdaptiveMaxPool2d has no deterministic form on a GPU.
        return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)


class GemPool(nn.Module):
    """The generalised mean of each channel (Radenovic et al., arXiv 1711.02512, eq. 3); its power is learned, and
    starts at 3."""

    times: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(3.0))

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, H, W) -> (B, F), float32."""
        # In float32: powers of small numbers are 0 in float16, and the gradient of a root of 0 is infinite.
        with without_autocast(features.device):
            return features.float().clamp(min=1e-6).pow(self.power).mean((2, 3)).pow(1 / self.power)


class EmbeddingHead(nn.Module):
    """Pool, BatchNorm, dropout, linear, BatchNorm: embeddings; then cosines to the centres of the classes.

    Args:
        num_features: channels of each map.
        pool: a row of POOLS.
        embedding_size: D.
        hidden: width of a layer in between (linear, ReLU, BatchNorm, dropout), before which only half is dropped; None
            for none.
        centres: of each class; the nearest of them counts (sub-centre ArcFace, Deng et al., ECCV 2020). 0 for none.
        centre_std: of the normal numbers that centres start with; None is Xavier's.
        joint_dropout: of a plain classifier behind the embedding; None for none.
    """

    class_layers = ("centres", "joint.")

    def __init__(
        self,
        num_features: Sequence[int],
        num_classes: int,
        *,
        pool: str = "average_max",
        embedding_size: int = 512,
        hidden: int | None = None,
        dropout: float = 0.0,
        centres: int = 1,
        centre_std: float | None = None,
        joint_dropout: float | None = None,
    ) -> None:
        super().__init__()
        pools = [POOLS[pool].load()() for _ in num_features]
        self.pools = nn.ModuleList(pools)
        width = sum(count * each.times for count, each in zip(num_features, pools, strict=True))
        layers: list[nn.Module] = [nn.BatchNorm1d(width), nn.Dropout(dropout if hidden is None else dropout / 2)]
        if hidden is not None:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.BatchNorm1d(hidden), nn.Dropout(dropout)]
            width = hidden
        # The BatchNorm behind it takes any bias away again.
        self.layers = nn.Sequential(
            *layers, nn.Linear(width, embedding_size, bias=False), nn.BatchNorm1d(embedding_size)
        )
        self._shape = num_classes, centres
        self.centres = nn.Parameter(torch.empty(num_classes * centres, embedding_size)) if centres else None
        if self.centres is not None:
            if centre_std is None:
                nn.init.xavier_normal_(self.centres)
            else:
                nn.init.normal_(self.centres, std=centre_std)
        self.joint: nn.Sequential | None = None
        if joint_dropout is not None:
            self.joint = nn.Sequential(nn.Dropout(joint_dropout), nn.Linear(embedding_size, num_classes))

    def forward(self, maps: Sequence[Tensor]) -> Outputs:
        """Maps (B, F, H, W), as many as `num_features` has -> cosines as logits, unit embeddings, plain logits."""
        pooled = torch.cat([pool(each) for pool, each in zip(self.pools, maps, strict=True)], 1)
        raw = self.layers(pooled)
        # In float32: a cosine near 1 has three digits in float16, and the margin works on the ones behind them.
        with without_autocast(raw.device):
            embeddings = functional.normalize(raw.float())
            logits = embeddings.new_zeros(len(embeddings), 0)
            if self.centres is not None:
                logits = embeddings @ functional.normalize(self.centres.float()).T
                if self._shape[1] > 1:
                    logits = logits.view(-1, *self._shape).amax(2)
        return Outputs(logits, embeddings, None if self.joint is None else self.joint(raw))
