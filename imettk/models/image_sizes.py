"""Image sizes that a network takes: found out without computing anything, and named where one does not fit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Size = tuple[int, int]  # (height, width) in pixels
Answer = TypeVar("Answer")

MULTIPLES = (2, 4, 7, 8, 14, 16, 20, 24, 28, 32, 48, 56, 64, 96, 112, 128, 224, 240)  # of patches, windows and strides
LEAST = 8  # pixels of a side, as for `images.image_size`


class SizeMisfit(Exception):
    """A network cannot take images of some size; the message says why."""


def follow(run: Callable[[Any, Tensor], Answer], module: nn.Module, *, channels: int, size: Size) -> Answer:
    """Return what `run` makes of a copy of a module and an image float32 (1, channels, H, W), both without values.

    Only shapes are followed, on the meta device. Where that fails a copy is run for once, as long as it has values:
    a network may look at them.

    Raises:
        SizeMisfit: the network refuses such an image.
    """
    try:
        with torch.no_grad():
            return run(without_values(module).eval(), torch.zeros(1, channels, *size, device="meta"))
    except Exception as error:  # whatever networks and torch raise for a wrong shape
        device = next((each.device for each in module.parameters()), torch.device("meta"))
        if device.type == "meta" or isinstance(error, AssertionError | SizeMisfit):  # a refusal in its own words
            raise SizeMisfit(one_line(error)) from None
    try:
        with torch.no_grad():
            return run(copy.deepcopy(module).eval(), torch.zeros(1, channels, *size, device=device))
    except Exception as error:
        raise SizeMisfit(one_line(error)) from None


def without_values(module: nn.Module) -> nn.Module:
    """Copy a module onto the meta device, whose tensors have shapes alone."""
    memo: dict[int, Any] = {id(each): each.data.to("meta") for each in module.buffers()}
    for each in module.parameters():
        memo[id(each)] = nn.Parameter(each.data.to("meta"), requires_grad=each.requires_grad)
    return copy.deepcopy(module, memo)


def tell_misfit(
    field: str, name: str, size: Size, misfit: SizeMisfit, takes: Callable[[Size], bool], *, known: Size | None = None
) -> str:
    """Return the line for a size that a network does not take, with the nearest ones that it does.

    Args:
        field: of the recipe, which says the size.
        takes: whether the network takes a size.
        known: one that it does take.
    """
    near = nearest_sizes(size, takes) or ([] if known is None else [known])
    advice = (
        "it takes " + " and ".join(f"{height} x {width}" for height, width in near) if near else "none near it fits"
    )
    return f"`{field}`: {name} does not take {size[0]} x {size[1]} ({misfit}); {advice}"


def nearest_sizes(size: Size, takes: Callable[[Size], bool]) -> list[Size]:
    """Return the nearest sizes below and above that a network takes, of multiples of usual patches and windows; for
    networks that take nothing else, squares."""

    def search(round_side: Callable[[int, int], int], side: int) -> Size | None:
        sizes = [(round_side(size[0], each), round_side(size[1], each)) for each in MULTIPLES]
        squares = [(round_side(side, each), round_side(side, each)) for each in MULTIPLES]
        candidates = [each for each in dict.fromkeys([*sizes, *squares]) if min(each) >= LEAST and each != size]
        return next((each for each in candidates if takes(each)), None)

    below = search(lambda side, multiple: side // multiple * multiple, min(size))
    above = search(lambda side, multiple: -(-side // multiple) * multiple, max(size))
    return [each for each in (below, above) if each is not None]


def one_line(error: Exception) -> str:
    """Return what an error says, or its name."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
