"""Downloads of pretrained weights, for kernels without internet. Only this module of imettk downloads anything."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from imettk.config.choices import BACKBONES, load
from imettk.errors import ConfigError, UserError
from imettk.files import write_atomically
from imettk.models.backbones import make_backbone
from imettk.models.fit_weights import load_weights
from imettk.models.pretraining import of_pretrainedmodels, of_timm
from imettk.models.weights_file import (
    HUB_CONFIG,
    HUB_FILES,
    WeightsInfo,
    file_stem,
    read_hub_config,
    read_weights,
    save_weights,
)
from imettk.progress import say

LIST = "weights.json"


def fetch_weights(names: Sequence[str], out: Path) -> None:
    """Write a safetensors file for each backbone, with its origin in the header; existing files are kept.

    Each file is loaded once, as a recipe would load it, before it gets its name; `weights.json` lists the hashes.

    Args:
        names: `timm:NAME`, `timm:NAME.TAG`, `pretrainedmodels:NAME` or `hf-hub:OWNER/NAME`.

    Raises:
        ConfigError: there is no such network, or it has no readable pretrained weights.
        UserError: the download failed.
    """
    for name in names:  # all of them first: a typo in the last name should not cost the other downloads
        _check_name(name)
    out.mkdir(parents=True, exist_ok=True)
    _read_list(out / LIST)
    for name in names:
        library, _, model = name.partition(":")
        path = out / f"{file_stem(model)}.safetensors"
        if path.is_file():
            say(f"{path} exists and is kept")
            continue
        try:
            state, about = load(BACKBONES[library].fetch)(model)
        except UserError:
            raise
        except Exception as error:  # requests, urllib, huggingface_hub and torch.hub each have their own
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{name} cannot be fetched ({type(error).__name__}: {reason})") from None
        part = path.with_name(f".{path.stem}.part.safetensors")
        try:
            save_weights(part, state, about)
            load_weights(make_backbone(about.architecture, channels=3).body, part, model)
            # The hash first: wherever the process dies, a file that has its name is listed.
            _note(out / LIST, path.name, part, name)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        say(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {describe_about(about)}")


def describe_about(about: WeightsInfo) -> str:
    """Return the origin of weights as words for a line."""
    values = [" ".join(f"{value:g}" for value in values or ()) for values in (about.mean, about.std)]
    size = f", of {about.size[0]} x {about.size[1]} pixels" if about.size else ""
    return f"{about.architecture}, trained with mean {values[0]} and std {values[1]}{size}"


def _check_name(name: str) -> None:
    """Raise `ConfigError` if no weights can have this name."""
    library, _, model = name.partition(":")
    if library not in BACKBONES or not BACKBONES[library].in_file:
        make_backbone(name, channels=3)
    elif not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        raise ConfigError(f"{name} is not a repository: write {library}:OWNER/NAME")


def _read_list(path: Path) -> dict[str, Any]:
    """Return the list of existing files with their hashes."""
    try:
        files = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        files = None
    if not isinstance(files, dict):
        raise UserError(f"{path} is damaged, it holds no list of weights: give another --out, or remove it")
    return files


def _note(path: Path, name: str, file: Path, source: str) -> None:
    """Add a file, under its final name, to the list that kernels check files against."""
    files = _read_list(path)
    files[name] = {"source": source, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    write_atomically(path, json.dumps(files, indent=2).encode())


def from_timm(model: str) -> tuple[dict[str, torch.Tensor], WeightsInfo]:
    """Return timm's pretrained weights of NAME or NAME.TAG; raise `ConfigError` if there are none."""
    import timm

    if not timm.is_model_pretrained(model):
        raise ConfigError(f"timm has no pretrained weights for {model}; `timm.list_models(pretrained=True)` lists them")
    state: dict[str, torch.Tensor] = timm.create_model(model, pretrained=True).state_dict()
    return state, of_timm(model)


def from_hub(model: str) -> tuple[dict[str, torch.Tensor], WeightsInfo]:
    """Return the weights of OWNER/NAME on the Hugging Face hub, a repository in timm's format.

    Raises:
        ConfigError: it is in another format, or of a network that the installed timm lacks.
        UserError: it does not exist, or it is gated.
    """
    import timm
    from huggingface_hub import errors, hf_hub_download

    source = f"hf-hub:{model}"
    try:
        about = read_hub_config(Path(hf_hub_download(model, HUB_CONFIG)), source)
    except errors.GatedRepoError:
        raise UserError(
            f"{source} is gated: agree to its terms at https://huggingface.co/{model}, and set HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"{source}: the hub has no such repository, or it is private (then set HF_TOKEN)") from None
    except errors.LocalEntryNotFoundError:
        raise UserError(f"{source} is not on this machine, and the hub cannot be reached") from None
    except errors.EntryNotFoundError:
        raise ConfigError(f"{source} is not in timm's format: it has no {HUB_CONFIG}") from None
    network = about.architecture.partition(":")[2]
    if not timm.is_model(network):
        raise ConfigError(f"{source} is of {network}, which timm {timm.__version__} does not have")
    for name in HUB_FILES:
        try:
            return read_weights(Path(hf_hub_download(model, name))).tensors, about
        except errors.EntryNotFoundError:
            continue
    raise ConfigError(f"{source} holds neither {' nor '.join(HUB_FILES)}")


def from_pretrainedmodels(model: str) -> tuple[dict[str, torch.Tensor], WeightsInfo]:
    """Return the ImageNet weights of a network of pretrainedmodels; raise `ConfigError` if it has none."""
    import pretrainedmodels

    known: dict[str, Any] = pretrainedmodels.pretrained_settings.get(model, {}).get("imagenet", {})
    if not known:
        raise ConfigError(f"pretrainedmodels has no ImageNet weights for {model}")
    # The server uses plain http and the library verifies nothing. So the file is downloaded here, checked against the
    # hash in its name, and left in torch's cache, where the library finds it.
    hashed = re.search(r"-[0-9a-f]{8,}\.pth$", known["url"])
    torch.hub.load_state_dict_from_url(known["url"], check_hash=hashed is not None, progress=True, weights_only=True)
    if hashed is None:
        say(f"note: {known['url']} has no hash in its name: the download is not verified")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state: dict[str, torch.Tensor] = getattr(pretrainedmodels, model)(pretrained="imagenet").state_dict()
    return state, of_pretrainedmodels(model)
