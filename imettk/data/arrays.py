"""Arrays as images: which axes are rows, columns, channels and frames; and single images in `.npy` and `.npz` files."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from functools import lru_cache
from typing import IO, Literal, NamedTuple

import numpy as np

from imettk.data.pixel_values import MAX_PIXELS, PixelValues, check_pixels

NumberedFrame = int | Literal["middle"] | None  # the values of `images.frame`
_ARCHIVE = b"PK\x03\x04"
MOST_BYTES = 2**31  # unpacked size of an archive: a few kilobytes of zip may unpack to any size
_LONGEST_HEADER = 12_000  # bytes; numpy refuses a header text longer than 10,000
_NUMBERS = "buif"  # `dtype.kind` of the arrays that can be an image


def read_npy(
    content: bytes, *, channels: int, frame: NumberedFrame, as_shown: bool, max_pixels: int = MAX_PIXELS
) -> PixelValues:
    """Return the image of a `.npy` file; see `pick_plane`.

    Raises:
            ValueError: the file is damaged, too large, holds anything except numbers, or its axes are ambiguous.
    """
    layout = _read_layout(content)
    plane = pick_plane(layout.fill(content, layout.start), channels, frame)
    check_pixels(plane.shape[1], plane.shape[0], max_pixels)
    return PixelValues(plane)


def read_npz(
    content: bytes, *, channels: int, frame: NumberedFrame, as_shown: bool, max_pixels: int = MAX_PIXELS
) -> PixelValues | None:
    """Return the image of a `.npz` file with a single array; None if it is no archive. Raises as `read_npy`."""
    if not content.startswith(_ARCHIVE):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            if len(names) != 1:
                arrays = ", ".join(name.removesuffix(".npy") for name in names[:5]) + (
                    ", ..." if len(names) > 5 else ""
                )
                held = f"{len(names)} arrays ({arrays})" if names else "no array"
                raise ValueError(f"it holds {held}, but an image is one array: save one array per file")
            with archive.open(names[0]) as file:
                layout = _read_layout(file.read(_LONGEST_HEADER))
            # A view of one element with the real shape: size and axes are checked before any pixel is unpacked.
            empty = np.broadcast_to(np.empty((), layout.dtype), layout.shape)
            height, width = pick_plane(empty, channels, frame).shape[:2]
            check_pixels(width, height, max_pixels)
            if layout.nbytes > MOST_BYTES:
                raise ValueError(f"it unpacks to {layout.nbytes:,} bytes, more than the limit of {MOST_BYTES:,}")
            with archive.open(names[0]) as file:
                file.read(layout.start)
                numbers = file.read(layout.nbytes)
                file.read(1)  # zipfile compares the checksum only at the end of the member
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"it is damaged: {error}") from None
    return PixelValues(pick_plane(layout.fill(numbers, 0), channels, frame))


class _Layout(NamedTuple):
    """Header of a `.npy` file (NumPy's NEP 1).

    Attributes:
        start: offset of the numbers, in bytes.
        is_fortran: the first axis varies fastest in memory.
    """

    start: int
    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def fill(self, content: bytes, start: int) -> np.ndarray:
        """Return the array whose numbers begin at `start`, without copying them."""
        if len(content) - start < self.nbytes:
            raise ValueError(f"it is truncated: it has {len(content) - start} of {self.nbytes} bytes of numbers")
        array = np.frombuffer(content, self.dtype, math.prod(self.shape), start)
        return array.reshape(self.shape, order="F" if self.is_fortran else "C")


def _read_layout(content: bytes) -> _Layout:
    size = 2 if content[6:7] == b"\x01" else 4  # bytes of the length field, by version of the format
    start = 8 + size + int.from_bytes(content[8 : 8 + size], "little")
    try:
        shape, is_fortran, dtype = _read_header(content[:start])
    except (ValueError, EOFError) as error:
        raise ValueError(f"it is not a complete .npy file: {' '.join(str(error).split())}") from None
    require_numbers(dtype)
    return _Layout(start, shape, is_fortran, dtype)


# Parsing a header (a Python literal) takes as long as reading a small image, and all images of one size share theirs.
@lru_cache(maxsize=64)
def _read_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    return read_header(io.BytesIO(header))


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, Fortran order and dtype from the header of a `.npy` file."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def require_numbers(dtype: np.dtype) -> None:
    """Raise ValueError unless an array of this type can be an image."""
    if dtype.hasobject:
        raise ValueError("it holds Python objects (pickle), which may run code and are not read: save it as numbers")
    if dtype.kind not in _NUMBERS or dtype.itemsize > 8:
        raise ValueError(f"its values are {dtype}, which cannot be pixels")


def pick_plane(array: np.ndarray, channels: int, frame: NumberedFrame) -> np.ndarray:
    """Return the image in an array of 2 to 4 dimensions as (H, W) or (H, W, channels of the array), a view if possible.

    Three dimensions are (H, W, C), or (C, H, W) if only that axis can be the channels: it has `images.channels`
    entries, or 1 or 3 where either converts to the other. With `frame`, three dimensions are a stack of grey planes,
    (frames, H, W) or (H, W, frames) as `_frame_axis` decides, unless the last axis is the channels, or the first is a
    number of channels above 3. Four dimensions are frames of what three dimensions are.

    Args:
        array: numbers of any type.
        channels: `images.channels`.
        frame: `images.frame`.

    Raises:
        ValueError: the axes are ambiguous, or there is no such frame; the message has the shape and the option.
    """
    require_numbers(array.dtype)
    if array.ndim == 4:
        return _pick_image(array[choose_frame(len(array), frame)], channels)
    if array.ndim == 3 and frame is not None and not _has_channels(array.shape, channels):
        if (axis := _frame_axis(array.shape)) is None:
            raise ValueError(
                f"its shape is {array.shape}, and it is unclear which axis counts its planes: save it as "
                "(planes, H, W, 1), or set `images.reader` to a function that returns the plane"
            )
        return np.moveaxis(array, axis, 0)[choose_frame(array.shape[axis], frame)]
    choose_frame(1, frame)
    return _pick_image(array, channels)


def _frame_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis that counts the planes of a stack, 0 or 2; None if ambiguous.

    Planes are square, or less than twice as long as wide. So an axis counts planes if the two others are equal, or if
    it is at most half of each of them. For such planes the number of planes never changes the answer, so all files of
    a set are read alike; the only exception is a file with exactly as many planes as a plane has rows or columns.
    """
    first, middle, last = shape
    if (first != middle) != (middle != last):  # exactly one pair of neighbouring axes is equal
        return 0 if middle == last else 2
    if 2 * first <= min(middle, last):
        return 0
    return 2 if 2 * last <= min(first, middle) else None


def _has_channels(shape: tuple[int, ...], channels: int) -> bool:
    """Return whether three dimensions are an image with channels even though `frame` is set."""
    return _can_be(shape[2], channels) or (channels > 3 and shape[0] == channels)


def _can_be(length: int, channels: int) -> bool:
    return length == channels or (length in (1, 3) and channels in (1, 3))


def _pick_image(array: np.ndarray, channels: int) -> np.ndarray:
    """Return an array of 2 or 3 dimensions with its channels moved to the last axis."""
    if array.ndim == 2:
        return array
    shape = array.shape
    if array.ndim != 3:
        raise ValueError(f"its shape is {shape}; an image has 2 or 3 dimensions, or 4 with frames")
    # A first axis that equals `channels` exactly wins over one that could only be converted to it.
    for fits in ([length == channels for length in shape], [_can_be(length, channels) for length in shape]):
        if fits[2] and fits[0]:
            raise ValueError(
                f"its shape is {shape}: its channels may be first or last; save one image per file as (H, W, C)"
            )
        if fits[2] or fits[0]:
            return array if fits[2] else array.transpose(1, 2, 0)
    stack = "`--images.frame middle` (or a number) for one plane of a stack"
    if _frame_axis(shape) is None:
        stack = "save a stack as (planes, H, W, 1), because the axis of its planes is unclear"
    likely = min(shape[0], shape[2])
    raise ValueError(
        f"its shape is {shape}, and `images.channels` is {channels}: try `--images.channels {likely}`, or {stack}"
    )


def choose_frame(count: int, frame: NumberedFrame) -> int:
    """Return the position of the frame that `images.frame` selects among `count`.

    Raises:
        ValueError: it selects none and there are several; or there is no such frame.
    """
    if frame is None:
        if count != 1:
            raise ValueError(f"it holds {count} frames: select one with `--images.frame middle`, or a number from 0")
        return 0
    place = count // 2 if frame == "middle" else frame + count if frame < 0 else frame
    if not 0 <= place < count:
        raise ValueError(f"it holds {count} frame{'s' if count != 1 else ''}, and `images.frame` is {frame}")
    return place
