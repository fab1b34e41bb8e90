"""Weights of anyone into a network: under whichever prefix they lie, as whichever version of timm wrote them.

keys of the file -> every prefix under which a network could lie -> timm's filters of its family -> the best fit
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imettk.errors import ConfigError
from imettk.models.weights_file import Content, read_weights

MOST_PARTS = 5  # of a prefix, as in `state_dict.model.module.backbone.body.`
MOST_TRIED = 40  # networks of a family, when another one is looked for
AVERAGED = re.compile(r"(^|[._])(ema|teacher|averaged|swa)([._]|$)", re.IGNORECASE)
Filter = Callable[[dict[str, Tensor], Any], dict[str, Tensor]]


@dataclass(frozen=True)
class _Fit:
    """What of a file fits a network, taken from under a prefix.

    Attributes:
        taken: tensors by the network's names.
        missing: names that have none; those of another shape among them.
        misshapen: (shape in the file, shape in the network) by name.
        filtered: they had to be converted.
    """

    prefix: str
    taken: dict[str, Tensor]
    missing: list[str]
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    filtered: bool = False


def load_weights(body: nn.Module, path: Path, name: str) -> str:
    """Give a network its weights; what the file holds beside them is passed over.

    Args:
        name: the network's, for messages.

    Returns:
        One line that says what was taken, and counts what was not.

    Raises:
        ConfigError: the file is no file of weights, or of another network; the message says what it holds.
    """
    content = read_weights(path)
    fits = find_fits(content.tensors, body)
    whole = [fit for fit in fits if not fit.missing]
    if not whole:
        best = min(fits, key=lambda fit: (len(fit.missing) - len(fit.misshapen), len(fit.missing)))
        raise ConfigError(f"`model.weights`: {_describe_misfit(best, content, body, path, name)}")
    best = min(whole, key=lambda fit: (fit.prefix != "", AVERAGED.search(fit.prefix) is None))
    for tensor, value in best.taken.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ConfigError(f"`model.weights`: {path} is damaged: its tensor {tensor} is not finite")
    body.load_state_dict(best.taken, strict=False)
    return _describe_fit(best, whole, content, path)


def find_fits(tensors: Mapping[str, Tensor], body: nn.Module) -> list[_Fit]:
    """Return what fits a network from under each prefix of the names, the shortest first."""
    own = body.state_dict()
    needed = sum(not _is_counter(name) for name in own)
    prefixes: Counter[str] = Counter({"": len(tensors)})
    for name in tensors:
        words = name.split(".")
        prefixes.update(".".join(words[:number]) + "." for number in range(1, min(len(words), MOST_PARTS + 1)))
    likely = [prefix for prefix, count in prefixes.items() if 2 * count >= needed] or [""]
    parts = {
        prefix: {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in sorted(likely, key=lambda text: text.count("."))
    }
    fits = [_match(prefix, part, own, filtered=False) for prefix, part in parts.items()]
    whole = [fit for fit in fits if not fit.missing]
    if whole and not _is_resized(body):
        return fits
    return [_converted(fit, parts[fit.prefix], own, body) for fit in whole or fits]


def _converted(fit: _Fit, part: dict[str, Tensor], own: Mapping[str, Tensor], body: nn.Module) -> _Fit:
    """Return how tensors fit as the filters of the network's family convert them, else as they are."""
    prefix = fit.prefix
    for convert in _filters(body):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, of how timm indexes
                converted = convert(dict(part), body)
        except Exception:  # a filter takes what it knows for granted, and these may be no weights of this family
            continue
        other = _match(prefix, converted, own, filtered=True)
        if len(other.missing) < len(fit.missing) or not other.missing:
            fit = other
        if not fit.missing:
            return fit
    if not fit.missing:
        return fit
    resampled = {name: resample_grid(name, value, own[name]) if name in own else value for name, value in part.items()}
    other = _match(prefix, resampled, own, filtered=True)
    return other if len(other.missing) < len(fit.missing) else fit


def _match(prefix: str, part: Mapping[str, Any], own: Mapping[str, Tensor], *, filtered: bool) -> _Fit:
    taken: dict[str, Tensor] = {}
    misshapen = {}
    for name, value in part.items():
        if name not in own or not isinstance(value, Tensor):
            continue
        value = adapt_channels(value, own[name])
        if value.shape == own[name].shape:
            taken[name] = value
        else:
            misshapen[name] = (tuple(value.shape), tuple(own[name].shape))
    missing = [name for name in own if name not in taken and not _is_counter(name)]
    return _Fit(prefix, taken, missing, misshapen, filtered)


def adapt_channels(value: Tensor, own: Tensor) -> Tensor:
    """Give a convolution's weights as many input channels as the network's; as they are, where they cannot have them.

    Those of colour images as timm does it; those of grey images are dealt to all channels, which are equal then.
    """
    from timm.models import adapt_input_conv

    if value.ndim != 4 or own.ndim != 4 or value.shape[0] != own.shape[0] or value.shape[1] == own.shape[1]:
        return value
    if value.shape[1] == 3:
        adapted: Tensor = adapt_input_conv(own.shape[1], value)
        return adapted
    return value.repeat(1, own.shape[1], 1, 1) / own.shape[1] if value.shape[1] == 1 else value


def resample_grid(name: str, value: Tensor, own: Tensor) -> Tensor:
    """Resample what a network has learned of positions to its own square grid, for families that timm does it not for.

    Takes (..., N, C) whose N is a square, also behind class tokens, (1, H, W, C) and (1, C, H, W); all else stays.
    """
    from timm.layers import resample_abs_pos_embed

    if not re.search("pos_embed|position_bias_table", name) or value.shape == own.shape or value.ndim != own.ndim:
        return value
    if value.ndim == 4 and value.shape[:2] == own.shape[:2] and value.shape[-1] != own.shape[-1]:  # channels first
        return nn.functional.interpolate(value.float(), own.shape[2:], mode="bicubic", antialias=True)
    if value.ndim == 4 and value.shape[1] == value.shape[2] != own.shape[1]:  # channels last
        last = value.permute(0, 3, 1, 2).float()
        return nn.functional.interpolate(last, own.shape[1:3], mode="bicubic", antialias=True).permute(0, 2, 3, 1)
    for tokens in range(3):
        old, new = (math.isqrt(max(tensor.shape[-2] - tokens, 0)) for tensor in (value, own))
        if old**2 + tokens == value.shape[-2] and new**2 + tokens == own.shape[-2] and old and new:
            rows = value.float().reshape(-1, *value.shape[-2:])
            grid: Tensor = resample_abs_pos_embed(rows, [new, new], [old, old], num_prefix_tokens=tokens)
            return grid.reshape(*value.shape[:-2], *own.shape[-2:]) if grid.shape[-1] == own.shape[-1] else value
    return value


def _is_counter(name: str) -> bool:
    """Return whether a tensor only counts BatchNorm's steps, which files of old leave out."""
    return name.endswith("num_batches_tracked")


def _is_resized(body: nn.Module) -> bool:
    """Return whether a network was made for another size than that of its pretraining: as many positions may then
    stand for a grid of another form."""
    usual = getattr(body, "pretrained_cfg", {}).get("input_size", ())[1:]
    sizes: list[Any] = [part.img_size for part in body.modules() if getattr(part, "img_size", None)]
    sizes = [(size, size) if isinstance(size, int) else tuple(size) for size in sizes[:1]]
    return bool(sizes) and sizes[0] != tuple(usual)


def _filters(body: nn.Module) -> list[Filter]:
    """Return what timm converts weights with that are of a network's family: of other versions, sizes and authors."""
    from timm.models import is_model, model_entrypoint

    name = getattr(body, "pretrained_cfg", {}).get("architecture", "")
    modules = [model_entrypoint(name).__module__] if name and is_model(name) else []
    filters: list[Filter] = []
    for module in dict.fromkeys([*modules, type(body).__module__]):
        if not module.startswith("timm."):
            continue
        for known, function in vars(importlib.import_module(module)).items():
            if re.search(r"(^|_)filter_(fn|torchvision)", known) and callable(function):
                filters.append(function)
                if "adapt_layer_scale" in inspect.signature(function).parameters:  # timm asks for it with deit3
                    filters.append(functools.partial(function, adapt_layer_scale=True))
    return filters


def _describe_fit(best: _Fit, whole: list[_Fit], content: Content, path: Path) -> str:
    """Return the line that says what was taken of a file, and what was not."""
    text = f"weights of {path}: {len(best.taken)} tensors"
    text += f", whose names begin with `{best.prefix}`" if best.prefix else ""
    text += ", converted as timm does for this network" if best.filtered else ""
    rest = len(content.tensors) - len(best.taken)
    if others := [f"`{fit.prefix}`" for fit in whole if fit is not best]:
        text += f"; {' and '.join(others)} would fit too"
    beside = [f"{rest} tensors"] if rest > 0 else []
    beside += [_listed(content.others)] if content.others else []
    return text + (f"; passed over: {' and '.join(beside)}" if beside else "")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _describe_misfit(best: _Fit, content: Content, body: nn.Module, path: Path, name: str) -> str:
    """Return what is wrong with weights of another network, and which one they may be of."""
    number, own = len(best.missing), len(body.state_dict())
    text = f"{path} does not fit {name}: "
    if best.prefix:
        text += f"keys begin with `{best.prefix}`; "
    if best.missing and best.misshapen:
        first = next(iter(best.misshapen))
        there, here = best.misshapen[first]
        text += f"{len(best.misshapen)} tensors have other shapes, first {first}: {there}, and {here} in the network"
        number -= len(best.misshapen)
    if number:
        absent = next(missing for missing in best.missing if missing not in best.misshapen)
        text += f"{'; ' if best.misshapen else ''}{number} of its {own} tensors are missing, first {absent}"
    firsts = ", ".join(list(content.tensors)[:2]) or "none"
    text += f"; the file holds {len(content.tensors)} tensors ({firsts}, ...)"
    if content.architecture:
        return f"{text} and says that they are of {content.architecture}"
    if not best.misshapen:
        return text + (": is the file whole?" if number < own / 4 else ": of another network?")
    guess = guess_network({key.removeprefix(best.prefix): value for key, value in content.tensors.items()}, body)
    return text + (f": of timm:{guess}?" if guess else ": of another network?")


def guess_network(part: Mapping[str, Tensor], body: nn.Module) -> str | None:
    """Return the network of the same family of timm that tensors fit, if one of its nearest names does."""
    import timm

    name = getattr(body, "pretrained_cfg", {}).get("architecture", "")
    if not name or not timm.is_model(name):
        return None
    module = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    near = difflib.get_close_matches(name, timm.list_models(module=module), n=MOST_TRIED, cutoff=0.0)
    for other in near:
        try:
            with torch.device("meta"):  # shapes alone, without memory
                shapes = timm.create_model(other, pretrained=False, num_classes=0).state_dict()
        except Exception:  # some networks look at numbers while they are made
            continue
        wanted = {key: value.shape for key, value in shapes.items() if not _is_counter(key) and "pos_embed" not in key}
        if all(key in part and part[key].shape == shape for key, shape in wanted.items()):
            return other
    return None
