"""Pretrained weights onto this machine, for kernels that have no network. The one place of imettk that downloads."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from imettk.config.choices import BACKBONES, load
from imettk.errors import ConfigError, UserError
from imettk.files import write_atomically
from imettk.models.backbones import make_backbone
from imettk.progress import say

LIST = "weights.json"


def fetch_weights(names: Sequence[str], out: Path) -> None:
    """Write `MODEL.safetensors` for each backbone `timm:MODEL` or `pretrainedmodels:MODEL`; those that are there stay.

    Each file is loaded once, as a recipe would load it, before it gets its name; `weights.json` lists their hashes.

    Raises:
        ConfigError: no such network, or it has no pretrained weights.
        UserError: the download failed.
    """
    for name in names:  # a typing error is told before the first download
        make_backbone(name, channels=3)
    out.mkdir(parents=True, exist_ok=True)
    _read_list(out / LIST)
    for name in names:
        library, _, model = name.partition(":")
        path = out / f"{model}.safetensors"
        if path.is_file():
            say(f"{path} is there")
            continue
        try:
            state = load(BACKBONES[library].fetch)(model)
        except ConfigError:
            raise
        except Exception as error:  # of requests, urllib, huggingface_hub and torch.hub
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{name} cannot be fetched ({type(error).__name__}: {reason})") from None
        part = path.with_name(f".{path.stem}.part.safetensors")
        try:
            save_file({key: value.contiguous().clone() for key, value in state.items()}, part)
            make_backbone(name, channels=3, weights=str(part))
            _note(out / LIST, path.name, part, name)  # first: a file that has its name has its hash, whenever this ends
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _read_list(path: Path) -> dict[str, Any]:
    """The files that are there already, with their hashes."""
    try:
        files = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        files = None
    if not isinstance(files, dict):
        raise UserError(f"{path} is damaged, it holds no list of weights: give another --out, or remove it")
    return files


def _note(path: Path, name: str, file: Path, source: str) -> None:
    """Add a file, by the name that it will have, to the list that a kernel holds it against."""
    files = _read_list(path)
    files[name] = {"source": source, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    write_atomically(path, json.dumps(files, indent=2).encode())


def from_timm(model: str) -> dict[str, torch.Tensor]:
    """Return the pretrained weights of a network of timm; `ConfigError` where it has none."""
    import timm

    if not timm.is_model_pretrained(model):
        raise ConfigError(f"timm has no pretrained weights for {model}; `timm.list_models(pretrained=True)` lists them")
    state: dict[str, torch.Tensor] = timm.create_model(model, pretrained=True).state_dict()
    return state


def from_pretrainedmodels(model: str) -> dict[str, torch.Tensor]:
    """Return the ImageNet weights of a network of pretrainedmodels; `ConfigError` where it has none."""
    import pretrainedmodels

    found: dict[str, Any] = pretrainedmodels.pretrained_settings.get(model, {}).get("imagenet", {})
    if not found:
        raise ConfigError(f"pretrainedmodels has no ImageNet weights for {model}")
    # Its server speaks plain http, and the library checks nothing: the hash in the file's name is held against it here,
    # and the library then finds the file where torch keeps it.
    hashed = re.search(r"-[0-9a-f]{8,}\.pth$", found["url"])
    torch.hub.load_state_dict_from_url(found["url"], check_hash=hashed is not None, progress=True, weights_only=True)
    if hashed is None:
        say(f"note: {found['url']} has no hash in its name: what came is not checked")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state: dict[str, torch.Tensor] = getattr(pretrainedmodels, model)(pretrained="imagenet").state_dict()
    return state
