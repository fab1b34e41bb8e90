"""The interface of a backbone, and helpers shared by those of all libraries."""

from __future__ import annotations

import difflib
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from imettk.errors import ConfigError
from imettk.models.image_sizes import Size, SizeMisfit, run_on_shapes

Levels: TypeAlias = int | tuple[int, ...]  # the last levels by their number, or levels counted from 0 in rising order


class Backbone(Protocol):
    """A network from images float32 (B, channels, H, W) to pooled features (B, F).

    Attributes:
        num_features: F.
    """

    num_features: int

    def maps(self, images: Tensor, levels: Levels) -> list[Tensor]:
        """Return the feature maps of these levels, the last level last, (B, F, H, W) each."""

    def map_channels(self, levels: Levels) -> list[int]:
        """Return the number of channels of each of these maps; raise `ConfigError` if there are no such levels."""

    def depth_of(self, *, by_block: bool = False) -> dict[str, int]:
        """Return the depth of each parameter by name: 0 for the first layer.

        Args:
            by_block: count the blocks of a level too, if the library numbers them. Parameters behind the last block,
                which learn as the head does, are left out.
        """

    def __call__(self, images: Tensor) -> Tensor: ...


def name_levels(levels: Levels) -> str:
    """Return the recipe's field and value that ask for these levels, for messages."""
    if isinstance(levels, int):
        return f"`model.last_levels` {levels}"
    return f"`model.levels` {' '.join(str(level) for level in levels)}"


def count_channels(backbone: Any, levels: Levels, channels: int, size: Size) -> list[int]:
    """Return the channels of the maps that a backbone makes of an image; raise `ConfigError` if it makes none."""

    def run(network: Any, images: Tensor) -> list[int]:
        return [features.shape[1] for features in network.maps(images, levels)]

    try:
        return run_on_shapes(run, backbone, channels=channels, size=size)
    except SizeMisfit as misfit:
        raise ConfigError(
            f"{name_levels(levels)}: this backbone has no such maps ({misfit}); choose others, or the linear head on "
            "the last level"
        ) from None


def unknown_model_message(library: str, name: str, known: list[str]) -> str:
    """Return the message for a name that a library does not have, with similar names."""
    similar = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"`model.backbone`: {library} has no network {name!r}" + (
        f"; similar: {', '.join(similar)}" if similar else ""
    )
