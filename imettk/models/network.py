"""The whole network: from pixels to logits and embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imettk.config.choices import HEADS, Choice, HeadChoice
from imettk.errors import ConfigError
from imettk.models.backbone import Levels
from imettk.models.backbones import make_backbone
from imettk.models.heads import Outputs, log_probs_by_part
from imettk.models.image_sizes import Size, SizeMisfit, misfit_message, run_on_shapes, to_meta
from imettk.models.lora import is_adapter
from imettk.models.trained import is_trained_network, load_trained


class Network(nn.Module):
    """Normalisation, backbone and head.

    It takes pixels as the loader yields them, so that no caller can forget to normalise, or normalise twice.

    Args:
        backbone: see `make_backbone`.
        num_classes: number of outputs of the head, including auxiliary ones.
        mean, std: of pixel values in [0, 1], one per channel.
        weights: see `make_backbone`; or the `model.safetensors` of a run folder.
        head: a row of HEADS or its name; or a user's own.
        last_levels: number of the backbone's last levels whose maps the head takes.
        levels: numbers of the levels whose maps it takes instead; () for the last ones.
        parts: sizes of the parts of the outputs that are normalised to log-probabilities, (Q,); () for the head's own
            outputs.
        num_auxiliary: number of last outputs that are only returned in training, as torchvision's Inception does.
        image_size: (height, width) of the images; None for the size of the backbone's pretraining.
        settings: fields of the recipe's section `model`; backbone and head take those that their rows name.

    Attributes:
        may_leave_unused: whether some parameters may get no gradient, such as layers behind the backbone's maps.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        backbone: str | Choice,
        num_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        weights: str | None = None,
        head: str | Choice = "linear",
        last_levels: int = 1,
        levels: tuple[int, ...] = (),
        image_size: Size | None = None,
        parts: tuple[int, ...] = (),
        num_auxiliary: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__()
        # Weights of a backbone, or of a whole network that imettk trained for other classes.
        trained = weights is not None and is_trained_network(weights)
        self.backbone = make_backbone(
            backbone, channels=len(mean), weights=None if trained else weights, size=image_size, settings=settings
        )
        self._levels: Levels = levels or last_levels
        self._image_size, self._parts = image_size, parts
        self._num_auxiliary = num_auxiliary
        row = HEADS[head] if isinstance(head, str) else head
        taken = row.settings if isinstance(row, HeadChoice) else ()
        head_settings = {name: value for name, value in settings.items() if name in taken}
        on_features = row.load_pooled() if isinstance(row, HeadChoice) and self._levels == 1 else None
        self._pooled = on_features is not None
        self.may_leave_unused = not self._pooled
        self.head: nn.Module
        if on_features is not None:
            self.head = on_features(self.backbone.num_features, num_classes, **head_settings)
        else:
            self.head = row.load()(self.backbone.map_channels(self._levels), num_classes, **head_settings)
        # In pixel units; not persistent, because they are settings and not weights.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255, persistent=False)
        if trained:
            # A user's own head may not list its per-class layers: then none of its weights are loaded.
            load_trained(self, str(weights), tuple(getattr(self.head, "class_layers", self.head.state_dict())))

    def forward(self, images: Tensor) -> Outputs:
        """Turn pixels, uint8 or float in [0, 255], (B, H, W, channels), into outputs."""
        # The permuted view of (B, H, W, channels) is already in channels-last layout, the fastest for convolutions.
        normalised = (images.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std
        if self._pooled:
            result = self.head(self.backbone(normalised))
        else:
            result = self.head(self.backbone.maps(normalised, self._levels))
        outputs = result if isinstance(result, Outputs) else Outputs(result)
        if self._parts:
            outputs = outputs._replace(logits=log_probs_by_part(outputs.logits, self._parts))
        if self._num_auxiliary and not self.training:
            outputs = outputs._replace(logits=outputs.logits[:, : -self._num_auxiliary])
        return outputs

    @property
    def answered_parts(self) -> tuple[int, ...]:
        """Sizes of the parts of the evaluation outputs that are log-probabilities, (Q,), or ()."""
        ends = np.cumsum(self._parts)
        return tuple(part for part, end in zip(self._parts, ends, strict=True) if end <= ends[-1] - self._num_auxiliary)

    def require_size(self, size: Size, *, field: str, name: str) -> None:
        """Raise `ConfigError` if the network, as built, does not accept images of another size.

        Args:
            field, name: the recipe's field with the size, and the backbone's name, for the message.
        """

        def run(network: nn.Module, other: Size) -> None:
            channels = self.mean.shape[1]
            run_on_shapes(
                lambda copied, images: copied(images.permute(0, 2, 3, 1)), network, channels=channels, size=other
            )

        def takes(other: Size) -> bool:
            try:
                run(empty, other)
                return True
            except SizeMisfit:
                return False

        try:
            run(self, size)
        except SizeMisfit as misfit:
            empty = to_meta(self)
            raise ConfigError(misfit_message(field, name, size, misfit, takes, known=self._image_size)) from None

    def layer_groups(self, num_groups: int) -> list[list[str]]:
        """Return the parameter names of each layer group, first layers first; the head comes last.

        The backbone's levels are divided evenly into `num_groups`: the five of a ResNet (stem and four) in 2 groups are
        stem to level 2, and levels 3 and 4. Weights that adapters replace are in none.

        Args:
            num_groups: 0 makes a group of each block.
        """
        by_block = num_groups == 0
        depths = self.backbone.depth_of(by_block=by_block)
        num_depths = max(depths.values(), default=0) + 1
        num_groups = num_groups or num_depths
        if num_groups > num_depths:
            raise ConfigError(
                f"`model.layer_groups` must be at most {num_depths}, the number of levels of this backbone, "
                f"got {num_groups}"
            )
        groups: list[list[str]] = [[] for _ in range(num_groups + 1)]
        names = [name for name, _ in self.backbone.named_parameters()]
        for name in [name for name in names if is_adapter(name)] or names:
            # A parameter behind the last level (a final norm) belongs to it; behind the last block, to the head.
            depth = depths.get(name, num_depths if by_block else num_depths - 1)
            groups[depth * num_groups // num_depths].append(f"backbone.{name}")
        groups[-1] += [f"head.{name}" for name, _ in self.head.named_parameters()]
        return groups
