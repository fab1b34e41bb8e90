"""Files of pretrained weights from any source: where they are, what they contain, and their own description.

No code in a file is ever executed: they are read as safetensors, or by torch's reader of tensors and plain values.
"""

from __future__ import annotations

import json
import pickle
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from imettk.errors import ConfigError, MissingFileError

HEADER = "pretrained"  # entry of a safetensors header that holds an `About`, written by `save_weights`
TRAINED = "imettk"  # entry that files of a run folder have
HUB_CONFIG = "config.json"  # timm's, in a folder laid out like a repository of the Hugging Face hub
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".pth")


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """Facts about weights, as far as their file has them.

    Attributes:
        architecture: the network's name in a recipe, such as `timm:resnet34`; "" if unknown.
        mean, std: normalisation of the training images, for values in [0, 1]; None if unknown.
        size: (height, width) of the training images.
        source: origin of these facts.
    """

    architecture: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: tuple[int, int] | None = None
    source: str = ""


@dataclass(frozen=True)
class Content:
    """Contents of a file of weights.

    Attributes:
        tensors: tensors by name; names in nested dicts are joined with dots.
        others: names of values that are not tensors.
        architecture: the network's name, if a training script stored it beside the weights; otherwise "".
    """

    tensors: dict[str, Tensor]
    others: tuple[str, ...] = ()
    architecture: str = ""


def file_stem(model: str) -> str:
    """Return the name of a network's file without suffix; OWNER/NAME of the hub becomes a single name."""
    return model.replace("/", "--")


def find_weights(path: Path, model: str) -> Path:
    """Return a file of weights: `path` itself, or the file of a network in that folder.

    Args:
        model: NAME; NAME.TAG of timm, whose tag may be omitted if the folder has only one; or OWNER/NAME.

    Raises:
        MissingFileError: there is no such file.
        ConfigError: the folder has several files for this network.
    """
    if not path.is_dir():
        if path.is_file():
            return path
        raise MissingFileError(f"`model.weights`: {path} not found; attach the weights or set it to none")
    candidates = [path / f"{file_stem(model)}{suffix}" for suffix in SUFFIXES]
    if known := [candidate for candidate in candidates if candidate.is_file()]:
        return known[0]
    tagged = [other for suffix in SUFFIXES for other in sorted(path.glob(f"{file_stem(model)}.*{suffix}"))]
    if len(tagged) > 1:
        names = ", ".join(other.name for other in tagged)
        raise ConfigError(f"`model.weights`: {path} holds {names}: set it to one of them, or add the tag to the name")
    if tagged:
        return tagged[0]
    hub_files = [path / name for name in HUB_FILES if (path / name).is_file()]
    if hub_files and (path / HUB_CONFIG).is_file():
        return hub_files[0]
    raise MissingFileError(
        f"`model.weights`: {' and '.join(map(str, candidates))} not found; attach the weights or set it to none"
    )


def read_weights(path: Path) -> Content:
    """Read all tensors of a file.

    Raises:
        ConfigError: it is not a file of weights, or reading it would run code.
    """
    try:
        content: Any = load_file(path) if _is_safetensors(path) else _load_plain(path)
    except Exception as error:  # torch raises IndexError, RuntimeError, UnpicklingError and more for broken files
        raise ConfigError(f"`model.weights`: {_why_unreadable(path, error)}") from None
    if not isinstance(content, Mapping):
        raise ConfigError(f"`model.weights`: {path} holds a {type(content).__name__} instead of tensors by name")
    tensors: dict[str, Tensor] = {}
    others: list[str] = []
    texts: dict[str, str] = {}
    for name, value in _leaves(content):
        if isinstance(value, Tensor):
            tensors[name] = value.detach()
        else:
            others.append(name)
            if isinstance(value, str):
                texts[name] = value
    keys = ("arch", "architecture", "model_name", "args.model")
    architecture = next((texts[name] for name in keys if name in texts), "")
    return Content(tensors, tuple(dict.fromkeys(name.split(".")[0] for name in others)), architecture)


def read_weights_info(path: Path) -> WeightsInfo:
    """Read the facts about a file's weights, from the header that imettk wrote or from timm's config.json beside it."""
    try:
        header = read_header(path)
        if HEADER in header:
            return _read_header(json.loads(header[HEADER]))
        if TRAINED in header:
            return info_of_training(json.loads(header[TRAINED]))
        if path.name in HUB_FILES and (config := path.with_name(HUB_CONFIG)).is_file():
            return read_hub_config(config)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{path} has an invalid description of its weights ({reason})") from None
    return WeightsInfo()


def info_of_training(values: Mapping[str, Any]) -> WeightsInfo:
    """Return the facts from the plain values of a model or checkpoint in a run folder."""
    recipe = values.get("recipe", {})  # only checkpoints have it; earlier versions wrote nothing else
    model, images = (values.get(section) or recipe.get(section, {}) for section in ("model", "images"))
    size = {"size": images.get("image_size"), "source": "a training of imettk"}
    about = {"architecture": model.get("backbone"), "mean": images.get("mean"), "std": images.get("std")}
    return _read_header(about | size)


def read_hub_config(path: Path, source: str = "") -> WeightsInfo:
    """Read a config.json in timm's format.

    Raises:
        ConfigError: it is in another format, such as that of transformers.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        pretrained = config.get("pretrained_cfg", config)
        size = tuple(pretrained["input_size"][1:]) if "input_size" in pretrained else None
        about = {"mean": pretrained.get("mean"), "std": pretrained.get("std"), "size": size}
        return _read_header({"architecture": f"timm:{config['architecture']}", "source": source} | about)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"{source or path} is not in timm's format: its {HUB_CONFIG} names no `architecture` of timm"
        ) from None


def save_weights(path: Path, tensors: Mapping[str, Tensor], about: WeightsInfo) -> None:
    """Write weights as safetensors, with the facts about them in the header."""
    header = {HEADER: json.dumps(asdict(about), sort_keys=True)}
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path, header)


def read_header(path: Path) -> dict[str, str]:
    """Return the metadata in a safetensors file's header; {} for another file."""
    if not _is_safetensors(path):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError:
        return {}  # reading the weights will raise a proper error


def _read_header(values: Mapping[str, Any]) -> WeightsInfo:
    mean, std, size = (None if values.get(name) is None else tuple(values[name]) for name in ("mean", "std", "size"))
    if (mean is None) != (std is None) or (mean and std and (len(mean) != len(std) or not min(std) > 0)):
        raise ValueError(f"mean {mean} and std {std}")
    return WeightsInfo(
        architecture=str(values.get("architecture") or ""),
        mean=mean and tuple(float(value) for value in mean),
        std=std and tuple(float(value) for value in std),
        size=size and (int(size[0]), int(size[1])),
        source=str(values.get("source") or ""),
    )


def _is_safetensors(path: Path) -> bool:
    """Return whether a file has that suffix, or starts like one: with the length of its header, which is JSON."""
    if path.suffix == ".safetensors":
        return True
    with open(path, "rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _load_plain(path: Path) -> Any:
    """Read tensors and plain values; `weights_only` refuses everything that could run code.

    Training scripts store options and best scores beside the weights. A Namespace and numpy's numbers are safe to
    allow: they only hold values, and building them runs no code from the file.
    """
    make_scalar: Any = np.float64(0).__reduce__()[0]
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]  # of numpy 1 and 2
    kinds = {type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")}
    plain: list[Any] = [Namespace, np.dtype, *kinds, *((make_scalar, name) for name in names)]
    with torch.serialization.safe_globals(plain):
        return torch.load(path, map_location="cpu", weights_only=True)


def _leaves(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested dicts with their names joined by dots."""
    for name, value in content.items():
        if isinstance(value, Namespace):
            value = vars(value)
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _why_unreadable(path: Path, error: Exception) -> str:
    """Return why a file cannot be read, and what to do."""
    text = " ".join(str(error).split())
    advice = "if you trust it, save only its state dict, torch.save(model.state_dict(), FILE), or use safetensors"
    if "TorchScript" in text:
        return f"{path} is TorchScript, a program, and is not loaded: {advice}"
    needs = re.search(r"(?:GLOBAL|class|global:?) ([\w.]+\.\w+)", text.partition("WeightsUnpickler error")[2])
    if isinstance(error, pickle.UnpicklingError) and needs:
        return f"{path} needs {needs[1]} unpickled, which can run any code, and is not loaded: {advice}"
    reason = text.rpartition("WeightsUnpickler error: ")[2].partition("Check the documentation of torch.load")[0]
    return f"{path} is not a weights file ({type(error).__name__}: {reason.strip()[:200]})"
