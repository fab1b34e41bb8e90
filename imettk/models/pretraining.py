"""Facts about pretrained weights: their network, and the mean and std that images were normalised with."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from imettk.config import earlier
from imettk.config.choices import BACKBONES, load
from imettk.errors import ConfigError
from imettk.models.weights_file import WeightsInfo, find_weights, read_weights_info

IMAGENET = WeightsInfo(**earlier.IMAGENET, source="ImageNet's")


def pretraining_of(backbone: str, weights: str | None) -> WeightsInfo:
    """Return what weights were trained with, from their file or else from the network's library.

    Args:
        backbone: as a recipe names it.
        weights: a file, a folder, or None for random weights, which get ImageNet's mean and std.

    Returns:
        Facts with a mean, a std and their `source`; the architecture is one of a library.

    Raises:
        ConfigError: the network is only known from the file, and the file does not name it.
        MissingFileError: there is no such file.
    """
    library, _, model = backbone.partition(":")
    row = BACKBONES.get(library)
    if weights is None:
        if row is not None and row.in_file:
            raise ConfigError(
                f"`model.backbone` {backbone} is only known from its weights: download them with `imettk weights "
                f"{backbone}`, and set `--model.weights weights`"
            )
        return replace(IMAGENET, architecture=backbone)
    path = find_weights(Path(weights), model if row is not None else "weights")
    about = read_weights_info(path)
    name = about.architecture if row is not None and row.in_file else backbone
    if not name:
        raise ConfigError(f"{path} does not name its network: set `model.backbone` to timm:NAME")
    if about.mean is not None:
        return replace(about, architecture=name, source=f"of {path}")
    library, _, model = name.partition(":")
    known = WeightsInfo()
    if library in BACKBONES:
        of_tag = path.stem if path.stem.startswith(f"{model}.") else model
        known = load(BACKBONES[library].pretraining)(of_tag, model)
    if known.mean is None:
        return replace(IMAGENET, architecture=name)
    return replace(known, architecture=name, source=f"of {known.source}")


def of_timm(model: str, usual: str | None = None) -> WeightsInfo:
    """Return timm's facts about the weights of NAME or NAME.TAG; those of `usual` if it has no such tag."""
    import timm

    try:
        known = timm.get_pretrained_cfg(model)
    except RuntimeError:
        return WeightsInfo() if usual in (None, model) else of_timm(str(usual))
    if known is None:
        return WeightsInfo()
    name = f"{known.architecture}.{known.tag}" if known.tag else str(known.architecture)
    size = known.input_size[1:]
    return WeightsInfo(
        architecture=f"timm:{model.partition('.')[0]}",
        mean=tuple(known.mean),
        std=tuple(known.std),
        size=(size[0], size[1]),
        source=f"timm:{name}",
    )


def of_pretrainedmodels(model: str, usual: str | None = None) -> WeightsInfo:
    """Return the facts of pretrainedmodels about its ImageNet weights, with pixels scaled from [0, 255] to [0, 1]."""
    import pretrainedmodels

    known: dict[str, Any] = pretrainedmodels.pretrained_settings.get(usual or model, {}).get("imagenet", {})
    if not known:
        return WeightsInfo()
    white = max(known["input_range"])
    size = known["input_size"][1:]
    name = f"pretrainedmodels:{usual or model}"
    return WeightsInfo(
        architecture=name,
        mean=tuple(value / white for value in known["mean"]),
        std=tuple(value / white for value in known["std"]),
        size=(size[0], size[1]),
        source=name,
    )


def adapt_to_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Adapt a mean or std to another number of channels, as the first convolution's weights are adapted.

    One channel gets the mean of all; more channels repeat them in turn.
    """
    if len(values) == channels:
        return values
    if channels == 1:
        return (fmean(values),)
    return tuple(values[channel % len(values)] for channel in range(channels))


def check_tag(model: str) -> None:
    """Raise `ConfigError` if timm has no weights with the tag of NAME.TAG; the message lists those it has."""
    import timm

    try:
        timm.get_pretrained_cfg(model)
    except RuntimeError:
        name, _, tag = model.partition(".")
        known = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
        near = ", ".join(difflib.get_close_matches(tag, known, n=5, cutoff=0.0))
        raise ConfigError(f"`model.backbone`: timm has no weights {tag!r} of {name}; it has {near or 'none'}") from None
