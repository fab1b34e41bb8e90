"""Numbers of any type from an image file -> uint8 pixels, given the values of black and white."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from imettk.data.file_facts import FileFacts

MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs
LARGEST_8 = 255  # largest value of 8 bits
PART = 65536  # values scaled at once; see `_parts`


class ValueRange(NamedTuple):
    """The values that become 0 and 255; values outside are clipped."""

    black: float
    white: float

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Return values of any number type and shape as uint8; raise `ValueError` at NaN or infinity."""
        if values.dtype == np.uint8 and self == (0, LARGEST_8):
            return values
        if values.dtype == np.uint16 and values.dtype.isnative and self.black == 0 and self.white >= 1:
            # A third of the time of a table; with white below 1 OpenCV's integers would overflow.
            return cv2.convertScaleAbs(values.reshape(1, -1), alpha=255 / self.white).reshape(values.shape)
        if values.dtype.kind in "ui" and values.itemsize <= 2:
            return look_up(values, _scaled_levels(self, values.dtype.newbyteorder("=")))
        pixels = np.empty(values.shape, np.uint8)
        for part in _parts(values):
            pixels[part] = self._compute(values[part])
        return pixels

    def _compute(self, values: np.ndarray) -> np.ndarray:
        """Scale values through floats."""
        # float32 holds these exactly, in half the memory; 32-bit integers and doubles need float64.
        exact = (values.dtype.kind == "f" and values.itemsize <= 4) or values.itemsize < 4
        wide: np.ndarray = values.astype(np.float32 if exact else np.float64)
        require_finite(wide)
        span = self.white - self.black
        with np.errstate(over="ignore"):  # an overflow to infinity is clipped like any large value
            wide -= np.asarray(self.black, wide.dtype)
        np.clip(wide, 0, span, out=wide)  # before OpenCV converts to integers, which would overflow
        return cv2.convertScaleAbs(wide.reshape(1, -1), alpha=255 / span).reshape(values.shape)

    def scale_eight_bits(self, pixels: np.ndarray) -> np.ndarray:
        """Scale pixels of an 8-bit file if white is at most 255; otherwise keep them: a set may mix 8 and 16 bits."""
        return self.scale(pixels) if self.white <= LARGEST_8 else pixels

    def setting(self) -> int | list[float]:
        """Return a JSON value: white alone if black is 0 and white is whole, as since version 0.1.0."""
        return int(self.white) if self.black == 0 and self.white == int(self.white) else [self.black, self.white]


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise ValueError if an image of this size has no pixels, or more than the limit."""
    if 0 in (width, height):
        raise ValueError(f"it has {width} x {height} pixels")
    if width * height > max_pixels:
        raise ValueError(f"it has {width} x {height} pixels, more than the limit of {max_pixels}")


def require_finite(values: np.ndarray) -> None:
    """Raise ValueError if a value is NaN or infinite."""
    if values.dtype.kind == "f" and not np.isfinite([values.min(), values.max()]).all():
        raise ValueError("it has values that are NaN or infinite")


@lru_cache(maxsize=8)  # computing the table takes longer than looking up a small image
def _scaled_levels(known: ValueRange, dtype: np.dtype) -> np.ndarray:
    """Return every number of an integer type of 8 or 16 bits scaled to uint8, indexed by its bits."""
    levels = all_levels(dtype).astype(np.float64)
    return np.rint(np.clip((levels - known.black) * 255 / (known.white - known.black), 0, 255)).astype(np.uint8)


def all_levels(dtype: np.dtype) -> np.ndarray:
    """Return every number of an integer type of 8 or 16 bits, indexed by its bits: 0 to the largest, then negatives."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return np.arange(2 ** (8 * dtype.itemsize), dtype=unsigned).view(dtype.newbyteorder("="))


def look_up(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the entry of a table for each value, in the same shape; the table has a row for each of `all_levels`."""
    entries = np.empty(values.shape, table.dtype)
    for part in _parts(values):
        native = np.ascontiguousarray(values[part], values.dtype.newbyteorder("="))
        entries[part] = table.take(native.view(f"u{native.itemsize}"))
    return entries


def _parts(values: np.ndarray) -> Iterator[slice]:
    """Yield slices of rows that fit a processor's cache: memory for a whole image at once costs more than the maths."""
    step = max(1, PART * len(values) // max(1, values.size))
    for start in range(0, len(values), step):
        yield slice(start, start + step)


class PixelValues(NamedTuple):
    """Values of one image as its file holds them.

    Attributes:
        numbers: (H, W) or (H, W, channels), of any number type.
        black: the file's black value; None if it defines none, likewise `white`.
        white: the file's white value.
        inverted: small values are bright.
        orientation: place of the first row and column, 1 to 8 as in EXIF; 1 is top left.
    """

    numbers: np.ndarray
    black: float | None = None
    white: float | None = None
    inverted: bool = False
    orientation: int = 1

    def upright(self) -> PixelValues:
        """Apply the orientation, as views."""
        numbers = self.numbers.swapaxes(0, 1) if self.orientation in (5, 6, 7, 8) else self.numbers
        from_below, from_right = self.orientation in (3, 4, 7, 8), self.orientation in (2, 3, 6, 7)
        numbers = numbers[:: -1 if from_below else 1, :: -1 if from_right else 1]
        return self._replace(numbers=numbers, orientation=1)


def to_pixels(
    values: PixelValues, channels: int, wanted: ValueRange | None, *, facts: FileFacts | None = None
) -> np.ndarray:
    """Return uint8 (H, W, channels).

    Args:
        channels: 1 converts three channels to grey, 3 repeats one; any other number must be the file's own.
        wanted: black and white of `images.white`; None takes the file's own.
        facts: receives the brightness of values of more than 8 bits.

    Raises:
        ValueError: white is unknown, a value is not a number, or it has another number of channels.
    """
    numbers = values.numbers
    if numbers.dtype == np.bool_:
        numbers = numbers.astype(np.uint8)
        values = values._replace(white=1 if values.white is None else values.white)
    if 0 in numbers.shape:
        raise ValueError(f"it has no pixels: its shape is {numbers.shape}")
    if wanted is not None and numbers.dtype == np.uint8 and wanted.white > LARGEST_8:
        wanted = None  # 8-bit files are kept: a set may mix 8 and 16 bits
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
        raise ValueError(f"its values are {dtype}, so its white value is unknown: set `images.white`")
    return ValueRange(values.black or 0, white)


def fit_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Convert uint8 (H, W, any) to the wanted number of channels; raises as `to_pixels`."""
    there = pixels.shape[2]
    if there == channels:
        return np.ascontiguousarray(pixels)
    if there == 1 and channels == 3:
        return np.repeat(pixels, 3, 2)
    if there == 3 and channels == 1:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[:, :, None]
    raise ValueError(f"it has {there} channel{'s' if there > 1 else ''}, but `images.channels` is {channels}")
