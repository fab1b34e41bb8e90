"""The region of an image that is used, and its place on the canvas: boxes, margins, aspect ratios as rectangles."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Aspect = Literal["stretch", "crop_marginal", "pad", "shorter_side"]


class Frame(NamedTuple):
    """A region of the source image, and the size that it is resized to.

    Attributes:
        top, left, bottom, right: edges of the region, in pixels of the source.
        height, width: size after resizing; smaller than the canvas if the rest is padding.
    """

    top: float
    left: float
    bottom: float
    right: float
    height: int
    width: int


def frame_image(
    source: tuple[int, int],
    canvas: tuple[int, int],
    *,
    aspect: Aspect,
    aspect_limit: float,
    box: tuple[float, float, float, float] | None = None,
    margin: float = 0.0,
) -> Frame:
    """Choose the region of an image that fills a canvas.

    Args:
        source: (height, width) of the image in pixels.
        canvas: (height, width) of the result.
        aspect: `stretch` resizes the whole region to the canvas; `crop_marginal` does too, but first crops the longer
            side if the two aspect ratios differ by more than `aspect_limit`; `pad` keeps the ratio and pads;
            `shorter_side` keeps it and crops. All are centred.
        aspect_limit: largest factor between the ratios, 1 or above.
        box: (left, top, right, bottom) in pixels of the source; None is the whole image.
        margin: added on each side of the box, in percent of its width or height.

    Returns:
        A region within the source, at least one pixel in each direction.

    Raises:
        ValueError: less than a pixel of the box lies within the image.
    """
    left, top, right, bottom = _clip(box, margin, source) if box else (0.0, 0.0, float(source[1]), float(source[0]))
    region, wanted = (right - left) / (bottom - top), canvas[1] / canvas[0]
    excess = region / wanted  # above 1 the region is too wide
    # One rule for all: `shorter_side` crops until the ratios are equal, `stretch` and `pad` never crop.
    limit = {"shorter_side": 1.0, "crop_marginal": aspect_limit}.get(aspect, math.inf)
    if excess > limit:
        spare = (right - left) * (1 - limit / excess) / 2
        left, right = left + spare, right - spare
    elif excess < 1 / limit:
        spare = (bottom - top) * (1 - excess * limit) / 2
        top, bottom = top + spare, bottom - spare
    height, width = canvas
    if aspect == "pad":
        height, width = max(1, round(height / max(excess, 1.0))), max(1, round(width * min(excess, 1.0)))
    return Frame(top, left, bottom, right, height, width)


def _clip(
    box: tuple[float, float, float, float], margin: float, source: tuple[int, int]
) -> tuple[float, float, float, float]:
    height, width = source
    left, top, right, bottom = box
    wide, high = (right - left) * margin / 100, (bottom - top) * margin / 100
    left, right = max(0.0, left - wide), min(float(width), right + wide)
    top, bottom = max(0.0, top - high), min(float(height), bottom + high)
    if not (right - left >= 1 and bottom - top >= 1):  # this form is true for NaN as well
        corners = ", ".join(f"{value:g}" for value in box)
        raise ValueError(f"its box ({corners}) contains no pixel of the image, which is {width} x {height}")
    return left, top, right, bottom
