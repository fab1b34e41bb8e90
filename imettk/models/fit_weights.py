"""Loading of anyone's weights into a network: under any prefix, from any version of timm.

Keys of the file -> every prefix under which a network could be stored -> timm's filters of its family -> the best fit.
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
MOST_TRIED = 40  # networks of a family to compare, when the file is of another network
AVERAGED = re.compile(r"(^|[._])(ema|teacher|averaged|swa)([._]|$)", re.IGNORECASE)
Filter = Callable[[dict[str, Tensor], Any], dict[str, Tensor]]


@dataclass(frozen=True)
class _Fit:
    """The tensors under a prefix of a file that fit a network.

    Attributes:
        taken: tensors by the network's names.
        missing: names without a fitting tensor, including those whose shape differs.
        misshapen: (shape in the file, shape in the network) by name.
        filtered: whether the tensors were converted.
    """

    prefix: str
    taken: dict[str, Tensor]
    missing: list[str]
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    filtered: bool = False


def load_weights(body: nn.Module, path: Path, name: str) -> str:
    """Load a file's weights into a network, ignoring everything else in the file.

    Args:
        name: name of the network, for messages.

    Returns:
        A line that describes what was loaded and counts what was ignored.

    Raises:
        ConfigError: the file is not a file of weights, or is of another network; the message describes its contents.
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
    """Return the fit of the tensors under each likely prefix, the shortest prefix first."""
    state = body.state_dict()
    needed = sum(not _is_counter(name) for name in state)
    prefixes: Counter[str] = Counter({"": len(tensors)})
    for name in tensors:
        words = name.split(".")
        prefixes.update(".".join(words[:number]) + "." for number in range(1, min(len(words), MOST_PARTS + 1)))
    likely = [prefix for prefix, count in prefixes.items() if 2 * count >= needed] or [""]
    parts = {
        prefix: {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in sorted(likely, key=lambda text: text.count("."))
    }
    fits = [_match(prefix, part, state, filtered=False) for prefix, part in parts.items()]
    whole = [fit for fit in fits if not fit.missing]
    if whole and not _is_resized(body):
        return fits
    return [_convert(fit, parts[fit.prefix], state, body) for fit in whole or fits]


def _convert(fit: _Fit, part: dict[str, Tensor], state: Mapping[str, Tensor], body: nn.Module) -> _Fit:
    """Return the fit after the conversions of the network's family, or the given one if none fits better."""
    prefix = fit.prefix
    for convert in _filters(body):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns about the way timm indexes
                converted = convert(dict(part), body)
        except Exception:  # filters assume weights of their family and fail in any way on others
            continue
        other = _match(prefix, converted, state, filtered=True)
        if len(other.missing) < len(fit.missing) or not other.missing:
            fit = other
        if not fit.missing:
            return fit
    if not fit.missing:
        return fit
    resampled = {
        name: resample_grid(name, value, state[name]) if name in state else value for name, value in part.items()
    }
    other = _match(prefix, resampled, state, filtered=True)
    return other if len(other.missing) < len(fit.missing) else fit


def _match(prefix: str, part: Mapping[str, Any], state: Mapping[str, Tensor], *, filtered: bool) -> _Fit:
    taken: dict[str, Tensor] = {}
    misshapen = {}
    for name, value in part.items():
        if name not in state or not isinstance(value, Tensor):
            continue
        value = adapt_channels(value, state[name])
        if value.shape == state[name].shape:
            taken[name] = value
        else:
            misshapen[name] = (tuple(value.shape), tuple(state[name].shape))
    missing = [name for name in state if name not in taken and not _is_counter(name)]
    return _Fit(prefix, taken, missing, misshapen, filtered)


def adapt_channels(value: Tensor, target: Tensor) -> Tensor:
    """Adapt a convolution's weights to the network's number of input channels; return others unchanged.

    Weights of colour images are adapted as timm does; those of grey images are spread evenly over all channels.
    """
    from timm.models import adapt_input_conv

    if value.ndim != 4 or target.ndim != 4 or value.shape[0] != target.shape[0] or value.shape[1] == target.shape[1]:
        return value
    if value.shape[1] == 3:
        adapted: Tensor = adapt_input_conv(target.shape[1], value)
        return adapted
    return value.repeat(1, target.shape[1], 1, 1) / target.shape[1] if value.shape[1] == 1 else value


def resample_grid(name: str, value: Tensor, target: Tensor) -> Tensor:
    """Resample learned positions to the network's square grid, for families that timm has no conversion for.

    Handles (..., N, C) with N a square (plus class tokens), (1, H, W, C) and (1, C, H, W); returns others unchanged.
    """
    from timm.layers import resample_abs_pos_embed

    if not re.search("pos_embed|position_bias_table", name) or value.shape == target.shape or value.ndim != target.ndim:
        return value
    if (
        value.ndim == 4 and value.shape[:2] == target.shape[:2] and value.shape[-1] != target.shape[-1]
    ):  # channels first
        return nn.functional.interpolate(value.float(), target.shape[2:], mode="bicubic", antialias=True)
    if value.ndim == 4 and value.shape[1] == value.shape[2] != target.shape[1]:  # (1, H, W, C)
        last = value.permute(0, 3, 1, 2).float()
        return nn.functional.interpolate(last, target.shape[1:3], mode="bicubic", antialias=True).permute(0, 2, 3, 1)
    for tokens in range(3):
        old, new = (math.isqrt(max(tensor.shape[-2] - tokens, 0)) for tensor in (value, target))
        if old**2 + tokens == value.shape[-2] and new**2 + tokens == target.shape[-2] and old and new:
            rows = value.float().reshape(-1, *value.shape[-2:])
            grid: Tensor = resample_abs_pos_embed(rows, [new, new], [old, old], num_prefix_tokens=tokens)
            return grid.reshape(*value.shape[:-2], *target.shape[-2:]) if grid.shape[-1] == target.shape[-1] else value
    return value


def _is_counter(name: str) -> bool:
    """Return whether a tensor only counts BatchNorm's steps, which old files lack."""
    return name.endswith("num_batches_tracked")


def _is_resized(body: nn.Module) -> bool:
    """Return whether a network was built for another size than its pretraining's.

    Then even tensors of equal shape may need a conversion: the same number of positions can be a grid of another form.
    """
    usual = getattr(body, "pretrained_cfg", {}).get("input_size", ())[1:]
    sizes: list[Any] = [part.img_size for part in body.modules() if getattr(part, "img_size", None)]
    sizes = [(size, size) if isinstance(size, int) else tuple(size) for size in sizes[:1]]
    return bool(sizes) and sizes[0] != tuple(usual)


def _filters(body: nn.Module) -> list[Filter]:
    """Return timm's converters of weights for a network's family: from other versions, sizes and authors."""
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
                if "adapt_layer_scale" in inspect.signature(function).parameters:  # DeiT III's weights need it
                    filters.append(functools.partial(function, adapt_layer_scale=True))
    return filters


def _describe_fit(best: _Fit, whole: list[_Fit], content: Content, path: Path) -> str:
    """Return the line that describes what was loaded from a file and what was ignored."""
    text = f"weights of {path}: {len(best.taken)} tensors"
    text += f", whose names begin with `{best.prefix}`" if best.prefix else ""
    text += ", converted as timm does for this network" if best.filtered else ""
    rest = len(content.tensors) - len(best.taken)
    if others := [f"`{fit.prefix}`" for fit in whole if fit is not best]:
        text += f"; {' and '.join(others)} would fit too"
    beside = [f"{rest} tensors"] if rest > 0 else []
    beside += [_list_names(content.others)] if content.others else []
    return text + (f"; ignored: {' and '.join(beside)}" if beside else "")


def _list_names(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _describe_misfit(best: _Fit, content: Content, body: nn.Module, path: Path, name: str) -> str:
    """Return the message for weights of another network, with a guess of which one."""
    number, num_tensors = len(best.missing), len(body.state_dict())
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
        text += f"{'; ' if best.misshapen else ''}{number} of its {num_tensors} tensors are missing, first {absent}"
    firsts = ", ".join(list(content.tensors)[:2]) or "none"
    text += f"; the file holds {len(content.tensors)} tensors ({firsts}, ...)"
    if content.architecture:
        return f"{text} and names their network: {content.architecture}"
    if not best.misshapen:
        return text + (": is the file whole?" if number < num_tensors / 4 else ": of another network?")
    guess = guess_network({key.removeprefix(best.prefix): value for key, value in content.tensors.items()}, body)
    return text + (f": of timm:{guess}?" if guess else ": of another network?")


def guess_network(part: Mapping[str, Tensor], body: nn.Module) -> str | None:
    """Return the network of the same timm family that the tensors fit, among those with similar names, or None."""
    import timm

    name = getattr(body, "pretrained_cfg", {}).get("architecture", "")
    if not name or not timm.is_model(name):
        return None
    module = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    near = difflib.get_close_matches(name, timm.list_models(module=module), n=MOST_TRIED, cutoff=0.0)
    for other in near:
        try:
            with torch.device("meta"):  # shapes only, without memory
                shapes = timm.create_model(other, pretrained=False, num_classes=0).state_dict()
        except Exception:  # some constructors compute with values, which the meta device lacks
            continue
        wanted = {key: value.shape for key, value in shapes.items() if not _is_counter(key) and "pos_embed" not in key}
        if all(key in part and part[key].shape == shape for key, shape in wanted.items()):
            return other
    return None
