"""What pretrained weights were trained with: the network, and the mean and std that images were normalised with."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from imettk.config import earlier
from imettk.config.choices import BACKBONES, load
from imettk.errors import ConfigError
from imettk.models.weights_file import About, find_weights, read_about

IMAGENET = About(**earlier.IMAGENET, source="ImageNet's")


def pretraining_of(backbone: str, weights: str | None) -> About:
    """Return what weights were trained with: as their file says, else as the network's library says.

    Args:
        backbone: as a recipe names it.
        weights: a file, a folder, or None for random weights, which take ImageNet's mean and std.

    Returns:
        With a mean and std, and as `source` whose they are; the architecture is that of a library.

    Raises:
        ConfigError: only the file could say which network it is, and it does not.
        MissingFileError: there is no such file.
    """
    library, _, model = backbone.partition(":")
    row = BACKBONES.get(library)
    if weights is None:
        if row is not None and row.in_file:
            raise ConfigError(
                f"`model.backbone` {backbone} is known by its weights alone: `imettk weights {backbone}` fetches them, "
                "and `--model.weights weights` takes them"
            )
        return replace(IMAGENET, architecture=backbone)
    path = find_weights(Path(weights), model if row is not None else "weights")
    about = read_about(path)
    name = about.architecture if row is not None and row.in_file else backbone
    if not name:
        raise ConfigError(f"{path} does not say which network it is of: take timm:NAME for `model.backbone`")
    if about.mean is not None:
        return replace(about, architecture=name, source=f"of {path}")
    library, _, model = name.partition(":")
    known = About()
    if library in BACKBONES:
        of_tag = path.stem if path.stem.startswith(f"{model}.") else model
        known = load(BACKBONES[library].pretraining)(of_tag, model)
    if known.mean is None:
        return replace(IMAGENET, architecture=name)
    return replace(known, architecture=name, source=f"of {known.source}")


def of_timm(model: str, usual: str | None = None) -> About:
    """Return what timm says of the weights of NAME or NAME.TAG; of `usual` where it knows no such tag."""
    import timm

    try:
        known = timm.get_pretrained_cfg(model)
    except RuntimeError:
        return About() if usual in (None, model) else of_timm(str(usual))
    if known is None:
        return About()
    name = f"{known.architecture}.{known.tag}" if known.tag else str(known.architecture)
    size = known.input_size[1:]
    return About(
        architecture=f"timm:{model.partition('.')[0]}",
        mean=tuple(known.mean),
        std=tuple(known.std),
        size=(size[0], size[1]),
        source=f"timm:{name}",
    )


def of_pretrainedmodels(model: str, usual: str | None = None) -> About:
    """Return what pretrainedmodels says of its ImageNet weights; pixels up to 255 are taken for values up to 1."""
    import pretrainedmodels

    known: dict[str, Any] = pretrainedmodels.pretrained_settings.get(usual or model, {}).get("imagenet", {})
    if not known:
        return About()
    white = max(known["input_range"])
    size = known["input_size"][1:]
    name = f"pretrainedmodels:{usual or model}"
    return About(
        architecture=name,
        mean=tuple(value / white for value in known["mean"]),
        std=tuple(value / white for value in known["std"]),
        size=(size[0], size[1]),
        source=name,
    )


def spread(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Return the mean or std of another number of channels, as the first convolution's weights are adapted to it.

    One channel stands for the mean of all; more take them in turn.
    """
    if len(values) == channels:
        return values
    if channels == 1:
        return (fmean(values),)
    return tuple(values[channel % len(values)] for channel in range(channels))


def check_tag(model: str) -> None:
    """Raise `ConfigError` where timm knows no weights by the tag of NAME.TAG; the message lists those it knows."""
    import timm

    try:
        timm.get_pretrained_cfg(model)
    except RuntimeError:
        name, _, tag = model.partition(".")
        known = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
        near = ", ".join(difflib.get_close_matches(tag, known, n=5, cutoff=0.0))
        raise ConfigError(f"`model.backbone`: timm has no weights {tag!r} of {name}, but {near or 'none'}") from None
