"""Which part of an image is seen, and where it lands: boxes, margins and aspect ratios, as plain rectangles."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Aspect = Literal["stretch", "crop_marginal", "pad", "shorter_side"]


class Frame(NamedTuple):
    """A part of the source, and the size that it gets.

    Attributes:
        top, left, bottom, right: of the part, in pixels of the source.
        height, width: that it is resized to; smaller than the canvas where the rest is padding.
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
    """Choose the part of an image that fills a canvas.

    Args:
        source: (height, width) of the image in pixels.
        canvas: (height, width) of what is wanted.
        aspect: `stretch` takes everything to the canvas; `crop_marginal` as well, but cuts the longer side first
            where the two aspect ratios differ by more than `aspect_limit`; `pad` keeps the ratio and leaves a border;
            `shorter_side` keeps it and cuts what lies over. All are centred.
        aspect_limit: largest factor between the ratios, 1 or above.
        box: (left, top, right, bottom) in pixels of the source; None is the whole image.
        margin: added on each side of the box, in percent of its width or height.

    Returns:
        A part within the source, at least one pixel each way.

    Raises:
        ValueError: less than a pixel of the box lies within the image.
    """
    left, top, right, bottom = _clip(box, margin, source) if box else (0.0, 0.0, float(source[1]), float(source[0]))
    part, wanted = (right - left) / (bottom - top), canvas[1] / canvas[0]
    excess = part / wanted  # above 1 the part is too wide
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
    if not (right - left >= 1 and bottom - top >= 1):  # so that NaN fails as well
        corners = ", ".join(f"{value:g}" for value in box)
        raise ValueError(f"its box ({corners}) holds no pixel of the image, which is {width} x {height}")
    return left, top, right, bottom
