"""Numbers of any type that a file holds of an image -> uint8 pixels: which value is black, and which is white."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from imettk.data.file_facts import FileFacts

MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs
LARGEST_8 = 255  # the largest value of 8 bits
PART = 65536  # values that are scaled at once


class ValueRange(NamedTuple):
    """The values that become 0 and 255; what lies outside is cut."""

    black: float
    white: float

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Return values of any number type and shape as uint8; `ValueError` where one is no number."""
        if values.dtype == np.uint8 and self == (0, LARGEST_8):
            return values
        if values.dtype == np.uint16 and values.dtype.isnative and self.black == 0 and self.white >= 1:
            # In a third of a table's time; below 1 OpenCV's integers would overflow.
            return cv2.convertScaleAbs(values.reshape(1, -1), alpha=255 / self.white).reshape(values.shape)
        if values.dtype.kind in "ui" and values.itemsize <= 2:
            return look_up(values, _scaled_levels(self, values.dtype.newbyteorder("=")))
        pixels = np.empty(values.shape, np.uint8)
        for part in _parts(values):
            pixels[part] = self._compute(values[part])
        return pixels

    def _compute(self, values: np.ndarray) -> np.ndarray:
        """Return what `scale` does of some values."""
        exact = (values.dtype.kind == "f" and values.itemsize <= 4) or values.itemsize < 4
        wide: np.ndarray = values.astype(np.float32 if exact else np.float64)
        require_finite(wide)
        span = self.white - self.black
        with np.errstate(over="ignore"):  # what becomes infinite is cut as all else
            wide -= np.asarray(self.black, wide.dtype)
        np.clip(wide, 0, span, out=wide)  # before OpenCV, whose integers would overflow
        return cv2.convertScaleAbs(wide.reshape(1, -1), alpha=255 / span).reshape(values.shape)

    def scale_eight_bits(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels of a file of 8 bits, scaled where white is among their values: a set may hold both kinds."""
        return self.scale(pixels) if self.white <= LARGEST_8 else pixels

    def setting(self) -> int | list[float]:
        """Return it as a JSON value: the white alone where black is 0 and white a whole number, as of 0.1.0."""
        return int(self.white) if self.black == 0 and self.white == int(self.white) else [self.black, self.white]


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise ValueError where an image of this size has no pixels, or more than the limit."""
    if 0 in (width, height):
        raise ValueError(f"it has {width} x {height} pixels")
    if width * height > max_pixels:
        raise ValueError(f"it has {width} x {height} pixels, more than the limit of {max_pixels}")


def require_finite(values: np.ndarray) -> None:
    """Raise ValueError where a value is no number."""
    if values.dtype.kind == "f" and not np.isfinite([values.min(), values.max()]).all():
        raise ValueError("it has values that are no numbers (NaN or infinite)")


@lru_cache(maxsize=8)  # which takes longer than to look up a small image
def _scaled_levels(known: ValueRange, dtype: np.dtype) -> np.ndarray:
    """Return uint8 of every number of a whole type of 8 or 16 bits, by its bits."""
    levels = all_levels(dtype).astype(np.float64)
    return np.rint(np.clip((levels - known.black) * 255 / (known.white - known.black), 0, 255)).astype(np.uint8)


def all_levels(dtype: np.dtype) -> np.ndarray:
    """Return every number of a whole type of 8 or 16 bits, by its bits: 0 to the largest, then negatives."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return np.arange(2 ** (8 * dtype.itemsize), dtype=unsigned).view(dtype.newbyteorder("="))


def look_up(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return what a table says of each value, of the same shape; it has a row for each of `all_levels`."""
    found = np.empty(values.shape, table.dtype)
    for part in _parts(values):
        native = np.ascontiguousarray(values[part], values.dtype.newbyteorder("="))
        found[part] = table.take(native.view(f"u{native.itemsize}"))
    return found


def _parts(values: np.ndarray) -> Iterator[slice]:
    """Yield rows in parts that stay in a processor's cache: new memory for a whole image takes longer than its sums."""
    step = max(1, PART * len(values) // max(1, values.size))
    for start in range(0, len(values), step):
        yield slice(start, start + step)


class PixelValues(NamedTuple):
    """What a file holds of one image.

    Attributes:
        numbers: (H, W) or (H, W, channels), of any number type.
        black: the value that its file counts as black; None where nothing says so, as is `white`.
        white: the value that its file counts as white.
        inverted: its file shows small values bright.
        orientation: where its file says that the first row and column belong, 1 to 8 as in EXIF; 1 is top left.
    """

    numbers: np.ndarray
    black: float | None = None
    white: float | None = None
    inverted: bool = False
    orientation: int = 1

    def upright(self) -> PixelValues:
        """Return them turned as their file says, as views."""
        numbers = self.numbers.swapaxes(0, 1) if self.orientation in (5, 6, 7, 8) else self.numbers
        from_below, from_right = self.orientation in (3, 4, 7, 8), self.orientation in (2, 3, 6, 7)
        numbers = numbers[:: -1 if from_below else 1, :: -1 if from_right else 1]
        return self._replace(numbers=numbers, orientation=1)


def to_pixels(
    values: PixelValues, channels: int, wanted: ValueRange | None, *, facts: FileFacts | None = None
) -> np.ndarray:
    """Return uint8 (H, W, channels).

    Args:
        channels: 1 makes grey of three, 3 repeats one; any other number must be the file's own.
        wanted: black and white as `images.white` says; None takes what the file says.
        facts: is told how bright values of more than 8 bits are.

    Raises:
        ValueError: nothing says which value is white, a value is no number, or it has another number of channels.
    """
    numbers = values.numbers
    if numbers.dtype == np.bool_:
        numbers = numbers.astype(np.uint8)
        values = values._replace(white=1 if values.white is None else values.white)
    if 0 in numbers.shape:
        raise ValueError(f"it has no pixels: its shape is {numbers.shape}")
    if wanted is not None and numbers.dtype == np.uint8 and wanted.white > LARGEST_8:
        wanted = None  # as of pictures of 8 bits: a set may hold both kinds
    known = wanted or _own_range(values, numbers.dtype)
    if facts is not None and numbers.dtype != np.uint8:
        facts.note_brightness(float(numbers.max()), known)
    pixels = known.scale(numbers)
    if values.inverted:
        pixels = 255 - pixels
    return fit_channels(pixels if pixels.ndim == 3 else pixels[:, :, None], channels)


def _own_range(values: PixelValues, dtype: np.dtype) -> ValueRange:
    white = values.white
    if white is None and dtype in (np.uint8, np.uint16):
        white = np.iinfo(dtype).max
    if white is None:
        raise ValueError(f"its values are {dtype}, so what is white is unknown: set `images.white`")
    return ValueRange(values.black or 0, white)


def fit_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Return uint8 (H, W, any) with the wanted number of channels; errors as of `to_pixels`."""
    there = pixels.shape[2]
    if there == channels:
        return np.ascontiguousarray(pixels)
    if there == 1 and channels == 3:
        return np.repeat(pixels, 3, 2)
    if there == 3 and channels == 1:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[:, :, None]
    raise ValueError(f"it has {there} channel{'s' if there > 1 else ''}, `images.channels` says {channels}")
