"""The whole network: pixels in, logits and embeddings out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imettk.config.model import HeadName
from imettk.errors import ConfigError
from imettk.models.backbones import make_backbone
from imettk.models.embedding import EmbeddingHead, PoolName
from imettk.models.heads import LinearHead, MapHead, Outputs
from imettk.models.trained import is_trained_network, load_trained


class Network(nn.Module):
    """Normalise, backbone, head. Takes pixels as the loader gives them: nothing is normalised twice or not at all.

    Attributes:
        may_leave_unused: some parameters may get no gradient: layers that a backbone has behind its maps.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        backbone: str,
        num_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        weights: str | None = None,
        head: HeadName = "linear",
        last_stages: int = 1,
        hidden: int = 1024,
        dropout: float = 0.0,
        pool: PoolName = "average_max",
        embedding_size: int = 512,
        centres: int = 1,
        centre_std: float | None = None,
        joint_dropout: float | None = None,
    ) -> None:
        super().__init__()
        # Weights of a backbone, or a whole network that imettk has trained for other classes.
        trained = weights is not None and is_trained_network(weights)
        self.backbone = make_backbone(backbone, channels=len(mean), weights=None if trained else weights)
        self._last_stages = last_stages
        self.head: LinearHead | MapHead | EmbeddingHead
        if head == "linear" and last_stages == 1:
            self.may_leave_unused = False
            self.head = LinearHead(self.backbone.num_features, num_classes, dropout=dropout)
        else:
            self.may_leave_unused = True
            channels = self.backbone.map_channels(last_stages)
            if head in ("embedding", "wide_embedding"):
                self.head = EmbeddingHead(
                    channels,
                    num_classes,
                    pool=pool,
                    size=embedding_size,
                    hidden=hidden if head == "wide_embedding" else None,
                    dropout=dropout,
                    centres=centres,
                    centre_std=centre_std,
                    joint_dropout=joint_dropout,
                )
            else:
                self.head = MapHead(channels, num_classes, wide=head == "wide", hidden=hidden, dropout=dropout)
        # In units of pixels; not weights, so they are no part of the state dict.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255, persistent=False)
        if trained:
            load_trained(self, str(weights), self.head.class_layers)

    def forward(self, images: Tensor) -> Outputs:
        """Pixels, uint8 or float in [0, 255], (B, H, W, channels) -> outputs."""
        # The permuted view of (B, H, W, channels) already has the channels-last layout that convolutions like best.
        normalised = (images.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std
        if isinstance(self.head, LinearHead):
            return Outputs(self.head(self.backbone(normalised)))
        given = self.head(self.backbone.maps(normalised, self._last_stages))
        return given if isinstance(given, Outputs) else Outputs(given)

    def layer_groups(self, num_groups: int) -> list[list[str]]:
        """Parameter names of each layer group, first layers first; the head is the last of `num_groups` + 1.

        The backbone's stages are dealt evenly: the five of a ResNet (stem and four) in 2 groups are stem to stage 2,
        and stages 3 and 4.
        """
        depths = self.backbone.depth_of()
        num_depths = max(depths.values(), default=0) + 1
        if num_groups > num_depths:
            raise ConfigError(
                f"`model.layer_groups` must be at most {num_depths}, the stages of this backbone, got {num_groups}"
            )
        groups: list[list[str]] = [[] for _ in range(num_groups + 1)]
        for name, _ in self.backbone.named_parameters():
            # A parameter after the last stage (a final norm) belongs with it.
            depth = depths.get(name, num_depths - 1)
            groups[depth * num_groups // num_depths].append(f"backbone.{name}")
        groups[-1] = [f"head.{name}" for name, _ in self.head.named_parameters()]
        return groups
