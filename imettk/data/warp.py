"""All the geometry of an augmentation as a single warp: crop, flip, rotate, scale, shear, shift and resize.

Separate steps would each read and write every pixel, and blur the image once more. Here they are composed into one map,
and pixels are read once. Maps that only mirror, rotate by right angles or crop copy pixels exactly.
"""

from __future__ import annotations

import math
import os
from typing import Any

import cv2
import numpy as np

from imettk.data.elastic import Places, displacements
from imettk.data.geometry import Affine, invert, join, rotate, scale, shear, shift, shrinking

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations 2.0.8 calls home at import
import albumentations as A

Range = tuple[float, float]
_CLOSE = 1e-6  # of a pixel: tolerance for rounding errors


def warp(
    image: np.ndarray,
    affine: Affine,
    size: tuple[int, int],
    *,
    border: int,
    moves: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Move the pixels of an image.

    Args:
        image: uint8 (H, W, channels).
        affine: maps places in the image to places in the result, in pixels from the upper left corner, so that the
            first pixel's centre is (0.5, 0.5).
        size: (height, width) of the result.
        border: extension beyond the image, as OpenCV's `BORDER_*`; a constant border is black.
        moves: offset of the place that each pixel of the result is read from, to the right and down, in its pixels,
            float32 (height, width) each.

    Returns:
        uint8 (height, width, channels), bilinear; if it shrinks by more than 2, halved by area means first.
    """
    # Bilinear reads 2 x 2 pixels: at a stronger reduction it would skip some, and the result would alias.
    while min(image.shape[:2]) > 1 and shrinking(affine) > 2:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        affine = join(affine, scale(image.shape[1] / width, image.shape[0] / height))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, -1)
    if moves is not None:  # OpenCV has one call for an affine map and another for a map per pixel
        return _remap(image, affine, size, border, moves)
    exact = _copy(image, affine, size)
    if exact is not None:
        return exact
    image, affine, border = _pad(image, affine, size, border)
    centred = join(shift(-0.5, -0.5), affine, shift(0.5, 0.5))  # OpenCV's origin is the first pixel's centre
    matrix = np.array(centred).reshape(2, 3)
    if image.shape[2] == 3:  # with a fourth channel OpenCV's warp is a quarter faster, both conversions included
        image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
        warped = cv2.warpAffine(image, matrix, size[::-1], borderMode=border)
        return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)
    parts = [  # OpenCV warps up to four channels
        cv2.warpAffine(image[:, :, first : first + 4], matrix, size[::-1], borderMode=border).reshape(*size, -1)
        for first in range(0, image.shape[2], 4)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _remap(
    image: np.ndarray, affine: Affine, size: tuple[int, int], border: int, moves: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Read each pixel of the result from a place of its own."""
    a, b, c, d, e, f = invert(join(shift(-0.5, -0.5), affine, shift(0.5, 0.5)))
    x, y = np.arange(size[1], dtype=np.float32) + moves[0], np.arange(size[0], dtype=np.float32)[:, None] + moves[1]
    columns, rows = a * x + b * y + np.float32(c), d * x + e * y + np.float32(f)
    parts = [
        cv2.remap(image[:, :, first : first + 4], columns, rows, cv2.INTER_LINEAR, borderMode=border).reshape(*size, -1)
        for first in range(0, image.shape[2], 4)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _pad(image: np.ndarray, affine: Affine, size: tuple[int, int], border: int) -> tuple[np.ndarray, Affine, int]:
    """Extend the image by as much border as the result shows, so that the warp itself can use a constant border.

    OpenCV's warp takes half as long again with any other border.
    """
    if border == cv2.BORDER_CONSTANT:
        return image, affine, border
    height, width = image.shape[:2]
    a, b, c, d, e, f = invert(affine)
    rows, columns = (0, size[0]), (0, size[1])
    lefts = [a * x + b * y + c for x in columns for y in rows]
    tops = [d * x + e * y + f for x in columns for y in rows]
    left, right = max(0, 1 - math.floor(min(lefts))), max(0, math.ceil(max(lefts)) + 1 - width)
    top, bottom = max(0, 1 - math.floor(min(tops))), max(0, math.ceil(max(tops)) + 1 - height)
    if max(left, right) >= width or max(top, bottom) >= height:  # mirroring more than once is left to the warp
        return image, affine, border
    if left or right or top or bottom:
        channels = image.shape[2]
        image = cv2.copyMakeBorder(image, top, bottom, left, right, border).reshape(
            height + top + bottom, width + left + right, channels
        )
        affine = join(affine, shift(-left, -top))
    return image, affine, cv2.BORDER_CONSTANT


def _copy(image: np.ndarray, affine: Affine, size: tuple[int, int]) -> np.ndarray | None:
    """Return the result if it is a plain copy of pixels; otherwise None."""
    a, b, _, d, e, _ = (round(value) for value in affine)
    if (abs(a), abs(b), abs(d), abs(e)) not in ((1, 0, 0, 1), (0, 1, 1, 0)):
        return None
    off = max(abs(affine[0] - a), abs(affine[1] - b), abs(affine[3] - d), abs(affine[4] - e))
    g, h, i, j, k, m = invert(affine)
    # The corners of the result, in the image's coordinates.
    left, right = sorted((i, g * size[1] + h * size[0] + i))
    top, bottom = sorted((m, j * size[1] + k * size[0] + m))
    edges = round(left), round(right), round(top), round(bottom)
    away = max(abs(edges[0] - left), abs(edges[1] - right), abs(edges[2] - top), abs(edges[3] - bottom))
    if max(away, off * max(size)) > _CLOSE:
        return None
    if min(edges) < 0 or edges[1] > image.shape[1] or edges[3] > image.shape[0]:
        return None
    part = image[edges[2] : edges[3], edges[0] : edges[1]]
    if a == 0:  # the map swaps x and y
        part = cv2.transpose(part)
        mirrored = b < 0, d < 0
    else:
        mirrored = a < 0, e < 0
    if any(mirrored):  # OpenCV's flip is ten times as fast as copying a reversed NumPy view
        part = cv2.flip(part, -1 if all(mirrored) else 1 if mirrored[0] else 0)
    return np.ascontiguousarray(part).reshape(*size, -1)


class Warp(A.ImageOnlyTransform):
    """Draws one warp from the whole image, or a random region of it, to `size`.

    One class with many options, because several transforms would read the pixels several times.

    Args:
        size: (height, width) of the result in pixels.
        area: range of the region's share of the image's area; None crops `size` at the image's own scale.
        ratio: range of the region's aspect ratio (width to height), relative to the image's.
        hflip, vflip: probabilities of mirroring.
        right_angles: rotate by 0, 90, 180 or 270 degrees.
        rotate, shear: ranges in degrees.
        scale: range; above 1 enlarges.
        shift: range, as a fraction of the side.
        elastic: range of a smooth displacement's standard deviation, as a fraction of the side.
        choices: one of these maps about the centre is drawn, instead of rotations, flips and scales.
        border: extension beyond the image, as OpenCV's `BORDER_*`.
        p: probability that anything happens; otherwise the image is only resized.
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        area: Range | None = (1, 1),
        ratio: Range = (1, 1),
        hflip: float = 0.0,
        vflip: float = 0.0,
        right_angles: bool = False,
        rotate: Range = (0, 0),
        shear: Range = (0, 0),
        scale: Range = (1, 1),
        shift: Range = (0, 0),
        elastic: Range = (0, 0),
        choices: tuple[Affine, ...] = (),
        border: int = cv2.BORDER_REFLECT_101,
        p: float = 1.0,
    ) -> None:
        # albumentations' own `p` would skip the whole transform.
        super().__init__(p=1.0)  # always applied: an image that stays the same must be resized nevertheless
        self.size, self.area, self.ratio = size, area, ratio
        self.hflip, self.vflip, self.right_angles = hflip, vflip, right_angles
        self.rotate, self.shear, self.scale, self.shift = rotate, shear, scale, shift
        self.elastic, self.choices, self.border, self.chance = elastic, choices, border, p

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw a map, as albumentations asks for it."""
        return self.draw(params["shape"])

    def draw(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Draw a map for an image of this shape, (H, W, channels), and the strength and places of its displacements."""
        height, width = shape[:2]
        out_height, out_width = self.size
        random = self.py_random
        if self.chance < 1 and random.random() >= self.chance:
            return {"affine": scale(out_width / width, out_height / height)}
        top, left, part_height, part_width = self._draw_part(height, width)
        away_x, away_y = self._between(self.shift) * out_width, self._between(self.shift) * out_height
        affine = join(
            shift(away_x + out_width / 2, away_y + out_height / 2),
            scale(out_width / part_width, out_height / part_height),
            *self._draw_turn(part_width, part_height),
            shift(-(left + part_width / 2), -(top + part_height / 2)),
        )
        if self.elastic == (0, 0):  # no numbers are drawn: pipelines without it keep their draws
            return {"affine": affine}
        places = random.random(), random.random(), random.random(), random.random()
        return {"affine": affine, "elastic": (self._between(self.elastic), places)}

    def apply(
        self, img: np.ndarray, affine: Affine, elastic: tuple[float, Places] | None = None, **params: Any
    ) -> np.ndarray:
        """Warp the image by this draw's map."""
        moves = None if elastic is None else displacements(self.size, elastic[1], elastic[0])
        return warp(img if img.ndim == 3 else img[:, :, None], affine, self.size, border=self.border, moves=moves)

    def _draw_part(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Draw the region of the image: top, left, height and width."""
        random = self.py_random
        if self.area is None:
            top, left = (
                random.randint(0, max(0, height - self.size[0])),
                random.randint(0, max(0, width - self.size[1])),
            )
            return top, left, self.size[0], self.size[1]
        area, stretch = self._between(self.area), 1.0
        if self.ratio != (1, 1):
            stretch = math.exp(random.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
        part_height = height * min(1.0, math.sqrt(area / stretch))
        part_width = width * min(1.0, math.sqrt(area * stretch))
        top, left = random.random() * (height - part_height), random.random() * (width - part_width)
        return top, left, part_height, part_width

    def _draw_turn(self, width: float, height: float) -> list[Affine]:
        """Draw maps about the centre of a region; `choices` and right angles fill its frame, whatever its sides."""
        random = self.py_random
        frame, back = scale(width / height, 1), scale(height / width, 1)
        if self.choices:
            return [frame, random.choice(self.choices), back]
        steps = []
        if self.rotate != (0, 0):
            steps.append(rotate(self._between(self.rotate)))
        if self.shear != (0, 0):
            steps.append(shear(self._between(self.shear)))
        if self.scale != (1, 1):
            zoom = self._between(self.scale)
            steps.append(scale(zoom, zoom))
        if self.right_angles:
            steps += [frame, rotate(90 * random.randrange(4)), back]
        if self.hflip and random.random() < self.hflip:
            steps.append(scale(-1, 1))
        if self.vflip and random.random() < self.vflip:
            steps.append(scale(1, -1))
        return steps

    def _between(self, limits: Range) -> float:
        return limits[0] if limits[0] == limits[1] else self.py_random.uniform(*limits)
