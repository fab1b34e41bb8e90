"""Backbones by name, from timm and pretrainedmodels, with weights from local files only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imettk.config.choices import BACKBONES, Choice
from imettk.errors import ConfigError
from imettk.models.backbone import Levels, name_levels
from imettk.models.fit_weights import load_weights
from imettk.models.image_sizes import Size, SizeMisfit, misfit_message
from imettk.models.pretraining import pretraining_of
from imettk.models.weights_file import find_weights
from imettk.progress import say


class OwnBackbone(nn.Module):
    """A user's own backbone: a module from images to a map of features, or to a list of maps, the last one last.

    Its children, in order, are its levels.
    """

    def __init__(self, body: nn.Module, *, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.body = body
        self._shape = channels, *size
        self.num_features: int = self.map_channels(1)[-1]

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images, 1)[-1].mean((2, 3))

    def maps(self, images: Tensor, levels: Levels) -> list[Tensor]:
        maps = self.body(images)
        maps = [maps] if isinstance(maps, Tensor) else list(maps)
        if len(maps) < (levels if isinstance(levels, int) else levels[-1] + 1):
            raise ConfigError(f"{name_levels(levels)}: this network has only {len(maps)} feature maps")
        return maps[-levels:] if isinstance(levels, int) else [maps[level] for level in levels]

    def map_channels(self, levels: Levels) -> list[int]:
        was_training = self.training
        try:
            with torch.no_grad():
                maps = self.eval().maps(torch.zeros(1, *self._shape), levels)
        finally:
            self.train(was_training)
        return [features.shape[1] for features in maps]

    def depth_of(self, *, by_block: bool = False) -> dict[str, int]:
        levels = {name: depth for depth, (name, child) in enumerate(self.body.named_children())}
        return {f"body.{name}": levels.get(name.split(".")[0], 0) for name, _ in self.body.named_parameters()}


def make_backbone(
    name: str | Choice,
    *,
    channels: int,
    weights: str | None = None,
    size: Size | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Any:
    """Build a `Backbone`.

    Args:
        name: a row of BACKBONES and a name in it, as in `timm:NAME`; or a user's own.
        channels: number of image channels; pretrained weights of a 3-channel first layer are adapted to it.
        weights: a local weights file, or a folder with `NAME.safetensors` or `NAME.pth` (or `NAME.TAG` with these
            suffixes); None for random weights.
        size: (height, width) of the images; None for the size of the pretraining.
        settings: fields of the recipe's section `model`; a library takes those that its row names.

    Raises:
        ConfigError: there is no such network (the message lists similar ones), it does not take a setting, or it does
            not accept images of this size (the message gives the nearest sizes that it accepts).
        MissingFileError: there are no such weights.
    """
    if not isinstance(name, str):
        backbone, model = OwnBackbone(name.load()(channels), channels=channels, size=size or (64, 64)), "weights"
    else:
        library, _, model = name.partition(":")
        if library not in BACKBONES:
            known = " or ".join(f"{source}:NAME" for source in BACKBONES)
            raise ConfigError(f"`model.backbone` must be {known}, got {name!r}")
        architecture = pretraining_of(name, weights).architecture if BACKBONES[library].in_file else name
        backbone = _make_of_library(architecture, channels, size, settings or {})
    if weights is not None:
        say(load_weights(backbone.body, find_weights(Path(weights), model), model))
    return backbone


def _make_of_library(name: str, channels: int, size: Size | None, settings: Mapping[str, Any]) -> Any:
    library, _, model = name.partition(":")
    row = BACKBONES[library]
    make = partial(row.load(), **{field: value for field, value in settings.items() if field in row.settings})

    def takes(other: Size) -> bool:
        try:
            with torch.device("meta"):  # shapes only: the search for a size builds dozens of networks
                make(model, channels=channels, size=other)
            return True
        except Exception:
            return False

    try:
        return make(model, channels=channels, size=size)
    except SizeMisfit as misfit:
        assert size is not None  # without a size nothing can misfit
        if torch.get_default_device().type == "meta":
            raise  # the caller only checks shapes; it builds the network again with values if that fails
        raise ConfigError(misfit_message("images.image_size", name, size, misfit, takes)) from None
