"""Image sizes that a network accepts: found without computing values, and suggested if one does not fit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Size = tuple[int, int]  # (height, width) in pixels
Answer = TypeVar("Answer")

MULTIPLES = (2, 4, 7, 8, 14, 16, 20, 24, 28, 32, 48, 56, 64, 96, 112, 128, 224, 240)  # of patches, windows and strides
LEAST = 8  # pixels of a side, the minimum of `images.image_size` too


class SizeMisfit(Exception):
    """A network cannot take images of some size; the message gives the reason."""


def run_on_shapes(run: Callable[[Any, Tensor], Answer], module: nn.Module, *, channels: int, size: Size) -> Answer:
    """Return `run`(copy of the module, image float32 (1, channels, H, W)), computed on shapes only.

    The copy runs on the meta device. If that fails, a copy with values runs once, if the module has values: some
    networks depend on them.

    Raises:
        SizeMisfit: the network refuses such an image.
    """
    try:
        with torch.no_grad():
            return run(to_meta(module).eval(), torch.zeros(1, channels, *size, device="meta"))
    except Exception as error:  # networks and torch raise all kinds of errors for a wrong shape
        device = next((parameter.device for parameter in module.parameters()), torch.device("meta"))
        if device.type == "meta" or isinstance(error, AssertionError | SizeMisfit):  # the network's own check
            raise SizeMisfit(one_line(error)) from None
    try:
        with torch.no_grad():
            return run(copy.deepcopy(module).eval(), torch.zeros(1, channels, *size, device=device))
    except Exception as error:
        raise SizeMisfit(one_line(error)) from None


def to_meta(module: nn.Module) -> nn.Module:
    """Copy a module to the meta device, where tensors have shapes but no values."""
    # `deepcopy` takes these from its memo: the values, possibly gigabytes, are never copied.
    memo: dict[int, Any] = {id(buffer): buffer.data.to("meta") for buffer in module.buffers()}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.data.to("meta"), requires_grad=parameter.requires_grad)
    return copy.deepcopy(module, memo)


def misfit_message(
    field: str, name: str, size: Size, misfit: SizeMisfit, takes: Callable[[Size], bool], *, known: Size | None = None
) -> str:
    """Return the message for a size that a network does not accept, with the nearest sizes that it does.

    Args:
        field: the recipe's field with the size.
        takes: (size) -> whether the network accepts it.
        known: a size that it accepts.
    """
    near = nearest_sizes(size, takes) or ([] if known is None else [known])
    advice = (
        "it takes " + " and ".join(f"{height} x {width}" for height, width in near) if near else "none near it fits"
    )
    return f"`{field}`: {name} does not take {size[0]} x {size[1]} ({misfit}); {advice}"


def nearest_sizes(size: Size, takes: Callable[[Size], bool]) -> list[Size]:
    """Return the nearest sizes below and above that a network accepts, multiples of usual patches and windows.

    Squares come last, for networks that accept nothing else.
    """

    def search(round_side: Callable[[int, int], int], side: int) -> Size | None:
        sizes = [(round_side(size[0], multiple), round_side(size[1], multiple)) for multiple in MULTIPLES]
        squares = [(round_side(side, multiple), round_side(side, multiple)) for multiple in MULTIPLES]
        candidates = [other for other in dict.fromkeys([*sizes, *squares]) if min(other) >= LEAST and other != size]
        return next((other for other in candidates if takes(other)), None)

    below = search(lambda side, multiple: side // multiple * multiple, min(size))
    above = search(lambda side, multiple: -(-side // multiple) * multiple, max(size))
    return [other for other in (below, above) if other is not None]


def one_line(error: Exception) -> str:
    """Return an error's message as one line, or the name of its type."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
