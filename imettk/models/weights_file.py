"""Files of pretrained weights, whoever wrote them: where they lie, what is in them, and what they say of themselves.

Nothing in a file is executed: safetensors, or torch's own reader of tensors and plain values.
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

HEADER = "pretrained"  # the entry of a safetensors header in which `save_weights` writes an `About`
TRAINED = "imettk"  # the entry that files of a run folder have
HUB_CONFIG = "config.json"  # of timm, in a folder as the Hugging Face hub has it
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".pth")


@dataclass(frozen=True, kw_only=True)
class About:
    """What weights are of, as far as their file says.

    Attributes:
        architecture: a network as a recipe names it, such as `timm:resnet34`; "" where the file does not say.
        mean, std: with which images were normalised for them, of values in [0, 1]; None where it does not say.
        size: (height, width) of these images.
        source: where they come from.
    """

    architecture: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: tuple[int, int] | None = None
    source: str = ""


@dataclass(frozen=True)
class Content:
    """What a file of weights holds.

    Attributes:
        tensors: by name; the names of dicts in dicts are joined with dots.
        others: names of the values that are no tensors.
        architecture: the network's name, where a training script wrote it beside its weights; else "".
    """

    tensors: dict[str, Tensor]
    others: tuple[str, ...] = ()
    architecture: str = ""


def file_stem(model: str) -> str:
    """Return how the file of a network is called: OWNER/NAME of the hub is one name."""
    return model.replace("/", "--")


def find_weights(path: Path, model: str) -> Path:
    """Return a file of weights: `path` itself, or in that folder the one of a network.

    Args:
        model: NAME; NAME.TAG of timm, whose tag may be left out where the folder holds one alone; or OWNER/NAME.

    Raises:
        MissingFileError: there is none.
        ConfigError: the folder holds several of this network.
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
        raise ConfigError(f"`model.weights`: {path} holds {names}: give the one that is meant, or its tag in the name")
    if tagged:
        return tagged[0]
    if (path / HUB_CONFIG).is_file() and (found := [path / name for name in HUB_FILES if (path / name).is_file()]):
        return found[0]
    raise MissingFileError(
        f"`model.weights`: {' and '.join(map(str, candidates))} not found; attach the weights or set it to none"
    )


def read_weights(path: Path) -> Content:
    """Read all tensors of a file.

    Raises:
        ConfigError: it is no file of weights, or one that only a run of its code would give back.
    """
    try:
        content: Any = load_file(path) if _is_safetensors(path) else _load_plain(path)
    except Exception as error:  # torch raises IndexError, RuntimeError, UnpicklingError and others for a broken file
        raise ConfigError(f"`model.weights`: {_why_unreadable(path, error)}") from None
    if not isinstance(content, Mapping):
        raise ConfigError(f"`model.weights`: {path} holds a {type(content).__name__}, and no tensors by name")
    tensors: dict[str, Tensor] = {}
    others: list[str] = []
    said: dict[str, str] = {}
    for name, value in _leaves(content):
        if isinstance(value, Tensor):
            tensors[name] = value.detach()
        else:
            others.append(name)
            if isinstance(value, str):
                said[name] = value
    keys = ("arch", "architecture", "model_name", "args.model")
    architecture = next((said[name] for name in keys if name in said), "")
    return Content(tensors, tuple(dict.fromkeys(name.split(".")[0] for name in others)), architecture)


def read_about(path: Path) -> About:
    """Read what a file says of itself: in the header that `save_weights` or a training of imettk wrote, or in the
    config.json of timm beside it."""
    try:
        header = read_header(path)
        if HEADER in header:
            return _read_header(json.loads(header[HEADER]))
        if TRAINED in header:
            return about_training(json.loads(header[TRAINED]))
        if path.name in HUB_FILES and (config := path.with_name(HUB_CONFIG)).is_file():
            return read_hub_config(config)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} says of itself what cannot be read ({type(error).__name__}: {error})") from None
    return About()


def about_training(values: Mapping[str, Any]) -> About:
    """Read the same from the plain values of a model or checkpoint in a run folder."""
    recipe = values.get("recipe", {})  # of a checkpoint; earlier versions wrote nothing beside it
    model, images = (values.get(section) or recipe.get(section, {}) for section in ("model", "images"))
    size = {"size": images.get("image_size"), "source": "a training of imettk"}
    about = {"architecture": model.get("backbone"), "mean": images.get("mean"), "std": images.get("std")}
    return _read_header(about | size)


def read_hub_config(path: Path, source: str = "") -> About:
    """Read a config.json in timm's format.

    Raises:
        ConfigError: it is of another format, such as that of transformers.
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


def save_weights(path: Path, tensors: Mapping[str, Tensor], about: About) -> None:
    """Write weights as safetensors, with what they are of in the header."""
    header = {HEADER: json.dumps(asdict(about), sort_keys=True)}
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path, header)


def read_header(path: Path) -> dict[str, str]:
    """Return what stands in a safetensors file's header beside its tensors; nothing for another file."""
    if not _is_safetensors(path):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError:
        return {}  # what reads the weights will say what is wrong


def _read_header(values: Mapping[str, Any]) -> About:
    mean, std, size = (None if values.get(name) is None else tuple(values[name]) for name in ("mean", "std", "size"))
    if (mean is None) != (std is None) or (mean and std and (len(mean) != len(std) or not min(std) > 0)):
        raise ValueError(f"mean {mean} and std {std}")
    return About(
        architecture=str(values.get("architecture") or ""),
        mean=mean and tuple(float(value) for value in mean),
        std=std and tuple(float(value) for value in std),
        size=size and (int(size[0]), int(size[1])),
        source=str(values.get("source") or ""),
    )


def _is_safetensors(path: Path) -> bool:
    """Return whether a file is called so, or begins as one does: with the length of its header, which is JSON."""
    if path.suffix == ".safetensors":
        return True
    with open(path, "rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _load_plain(path: Path) -> Any:
    """Read tensors and plain values; `weights_only` refuses whatever could run code.

    Training scripts keep their options and best scores beside the weights: a Namespace and numpy's numbers hold values
    alone, and making them runs nothing of the file's.
    """
    make_scalar: Any = np.float64(0).__reduce__()[0]
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]  # of numpy 1 and 2
    kinds = {type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")}
    plain: list[Any] = [Namespace, np.dtype, *kinds, *((make_scalar, name) for name in names)]
    with torch.serialization.safe_globals(plain):
        return torch.load(path, map_location="cpu", weights_only=True)


def _leaves(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Return the values of dicts in dicts, by their names joined with dots."""
    for name, value in content.items():
        if isinstance(value, Namespace):
            value = vars(value)
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _why_unreadable(path: Path, error: Exception) -> str:
    """Return what is wrong with a file that cannot be read, and what to do."""
    text = " ".join(str(error).split())
    advice = "where you trust it, save its state dict alone, torch.save(model.state_dict(), FILE), or as safetensors"
    if "TorchScript" in text:
        return f"{path} is TorchScript, which is a program, and is not read: {advice}"
    needs = re.search(r"(?:GLOBAL|class|global:?) ([\w.]+\.\w+)", text.partition("WeightsUnpickler error")[2])
    if isinstance(error, pickle.UnpicklingError) and needs:
        return f"{path} needs {needs[1]} unpickled, which can run any code, and is not read: {advice}"
    reason = text.rpartition("WeightsUnpickler error: ")[2].partition("Check the documentation of torch.load")[0]
    return f"{path} is no weights file ({type(error).__name__}: {reason.strip()[:200]})"
