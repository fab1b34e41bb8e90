"""Heads that turn feature maps into embeddings, and embeddings into cosines to class centres."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from imettk.device import without_autocast
from imettk.models.heads import Outputs
from imettk.models.pools import make_pools


class EmbeddingHead(nn.Module):
    """A head of pool, BatchNorm, dropout, linear and BatchNorm (the embeddings), then cosines to class centres.

    Args:
        num_features: channels of each map.
        pool: a row of POOLS.
        embedding_size: D.
        hidden: width of an extra layer (linear, ReLU, BatchNorm, dropout), which halves the dropout before it; None for
            no such layer.
        centres: number of centres per class, of which the nearest counts (sub-centre ArcFace, Deng et al., ECCV 2020);
            0 for no centres.
        centre_std: standard deviation of the initial centres; None for Xavier initialisation.
        joint_dropout: dropout of a plain classifier behind the embedding; None for no classifier.
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
        pools = make_pools(pool, num_features)
        self.pools = nn.ModuleList(pools)
        width = sum(module.width for module in pools)
        layers: list[nn.Module] = [nn.BatchNorm1d(width), nn.Dropout(dropout if hidden is None else dropout / 2)]
        if hidden is not None:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.BatchNorm1d(hidden), nn.Dropout(dropout)]
            width = hidden
        # No bias: the BatchNorm behind it would subtract it again.
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
        """Turn maps (B, F, H, W), one per entry of `num_features`, into cosines, unit embeddings and plain logits."""
        pooled = torch.cat([pool(features) for pool, features in zip(self.pools, maps, strict=True)], 1)
        raw = self.layers(pooled)
        # In float32: in float16 a cosine near 1 has three digits, and the margin depends on later ones.
        with without_autocast(raw.device):
            embeddings = functional.normalize(raw.float())
            logits = embeddings.new_zeros(len(embeddings), 0)
            if self.centres is not None:
                logits = embeddings @ functional.normalize(self.centres.float()).T
                if self._shape[1] > 1:
                    logits = logits.view(-1, *self._shape).amax(2)
        return Outputs(logits, embeddings, None if self.joint is None else self.joint(raw))
