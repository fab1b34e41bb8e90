"""Operations of searched and random policies, on uint8 images (H, W, channels) of any number of channels.

They are those of AutoAugment (arXiv 1805.09501, table 6) as RandAugment and AugMix use them. Each takes a strength in
[0, 1], or in [-1, 1] if it has two directions; 0 changes nothing, except for two operations that have no strength.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from imettk.data.geometry import Affine, join, shift
from imettk.data.geometry import rotate as rotation
from imettk.data.warp import warp

# At strength 1, as in the papers' code: degrees, slope, share of the side, bits, change of a factor.
MOST_DEGREES, MOST_SHEAR, MOST_SHIFT, MOST_BITS, MOST_CHANGE = 30.0, 0.3, 100 / 331, 4, 0.9
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13  # Pillow's filter of the same name


def identity(image: np.ndarray, strength: float) -> np.ndarray:
    """Return the image."""
    return image


def rotate(image: np.ndarray, strength: float) -> np.ndarray:
    """Rotate about the centre."""
    return _move(image, rotation(MOST_DEGREES * strength))


def shear_x(image: np.ndarray, strength: float) -> np.ndarray:
    """Move rows sideways, the further from the centre the more."""
    return _move(image, (1.0, MOST_SHEAR * strength, 0.0, 0.0, 1.0, 0.0))


def shear_y(image: np.ndarray, strength: float) -> np.ndarray:
    """Move columns up or down, the further from the centre the more."""
    return _move(image, (1.0, 0.0, 0.0, MOST_SHEAR * strength, 1.0, 0.0))


def translate_x(image: np.ndarray, strength: float) -> np.ndarray:
    """Move the image sideways."""
    return _move(image, shift(MOST_SHIFT * strength * image.shape[1], 0.0))


def translate_y(image: np.ndarray, strength: float) -> np.ndarray:
    """Move the image up or down."""
    return _move(image, shift(0.0, MOST_SHIFT * strength * image.shape[0]))


def auto_contrast(image: np.ndarray, strength: float) -> np.ndarray:
    """Stretch the values of each channel to 0 to 255."""
    tables = np.tile(np.arange(256.0), (image.shape[2], 1))
    for table, counts in zip(tables, _counts(image), strict=True):
        used = np.flatnonzero(counts)
        if used[-1] > used[0]:
            slope = 255 / (used[-1] - used[0])
            table[:] = table * slope - used[0] * slope  # in this order, as Pillow rounds it
    return _look_up(image, tables)


def equalize(image: np.ndarray, strength: float) -> np.ndarray:
    """Spread the values of each channel evenly, as Pillow's `ImageOps.equalize` does."""
    tables = np.tile(np.arange(256), (image.shape[2], 1))
    for table, counts in zip(tables, _counts(image), strict=True):
        step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
        if step:
            table[:] = np.minimum((step // 2 + np.cumsum(counts) - counts) // step, 255)
    return _look_up(image, tables)


def solarize(image: np.ndarray, strength: float) -> np.ndarray:
    """Invert bright values; the stronger, the more of them."""
    values = np.arange(256)
    return _look_up(image, np.where(values < 256 - int(256 * strength), values, 255 - values))


def posterize(image: np.ndarray, strength: float) -> np.ndarray:
    """Drop the last bits of values."""
    bits = round(MOST_BITS * strength)
    return _look_up(image, np.arange(256) >> bits << bits)


def brightness(image: np.ndarray, strength: float) -> np.ndarray:
    """Blend with black, or away from it."""
    return _look_up(image, np.arange(256) * (1 + MOST_CHANGE * strength))


def contrast(image: np.ndarray, strength: float) -> np.ndarray:
    """Blend with the mean brightness, or away from it."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image
    mean = int(grey.mean() + 0.5)
    return _look_up(image, mean + (np.arange(256) - mean) * (1 + MOST_CHANGE * strength))


def colour(image: np.ndarray, strength: float) -> np.ndarray:
    """Blend an RGB image with its greys, or away from them."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _blend(image, grey, strength)


def sharpness(image: np.ndarray, strength: float) -> np.ndarray:
    """Blend with a smoothed image, or away from it."""
    return _blend(image, cv2.filter2D(image, -1, _SMOOTH).reshape(image.shape), strength)


class Operation(NamedTuple):
    """An operation.

    Attributes:
        signed: it has two directions, one of which is drawn.
        mild: AugMix uses it too: it is not among the corruptions that AugMix is meant to resist.
        coloured: it needs an RGB image.
    """

    apply: Callable[[np.ndarray, float], np.ndarray]
    signed: bool = False
    mild: bool = True
    coloured: bool = False


OPERATIONS: dict[str, Operation] = {
    "identity": Operation(identity, mild=False),
    "auto_contrast": Operation(auto_contrast),
    "equalize": Operation(equalize),
    "rotate": Operation(rotate, signed=True),
    "solarize": Operation(solarize),
    "colour": Operation(colour, signed=True, mild=False, coloured=True),
    "posterize": Operation(posterize),
    "contrast": Operation(contrast, signed=True, mild=False),
    "brightness": Operation(brightness, signed=True, mild=False),
    "sharpness": Operation(sharpness, signed=True, mild=False),
    "shear_x": Operation(shear_x, signed=True),
    "shear_y": Operation(shear_y, signed=True),
    "translate_x": Operation(translate_x, signed=True),
    "translate_y": Operation(translate_y, signed=True),
}


def _move(image: np.ndarray, affine: Affine) -> np.ndarray:
    """Apply a map about the centre; what it uncovers mirrors the image."""
    height, width = image.shape[:2]
    centred = join(shift(width / 2, height / 2), affine, shift(-width / 2, -height / 2))
    return warp(image, centred, (height, width), border=cv2.BORDER_REFLECT_101)


def _counts(image: np.ndarray) -> list[np.ndarray]:
    """Return the number of pixels of each value, int64 (256,), for each channel."""
    counts = (cv2.calcHist([image], [channel], None, [256], [0, 256]) for channel in range(image.shape[2]))
    return [count.ravel().astype(np.int64) for count in counts]


def _look_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Replace values by those of a table (256,), or of a table for each channel (channels, 256)."""
    table = np.clip(table, 0, 255).astype(np.uint8)
    if table.ndim == 2:
        table = np.ascontiguousarray(table.T)[None]
    return cv2.LUT(image, table).reshape(image.shape)


def _blend(image: np.ndarray, other: np.ndarray, strength: float) -> np.ndarray:
    """Move an image toward another at negative strength, and away from it at positive strength."""
    share = 1 + MOST_CHANGE * strength
    return cv2.addWeighted(image, share, other, 1 - share, 0).reshape(image.shape)
