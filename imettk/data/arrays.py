"""Arrays as images: which axes are rows, columns, channels and frames, and files of numpy that hold one."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from functools import lru_cache
from typing import IO, Literal, NamedTuple

import numpy as np

from imettk.data.pixel_values import MAX_PIXELS, PixelValues, check_pixels

NumberedFrame = int | Literal["middle"] | None  # as `images.frame` says it
_ARCHIVE = b"PK\x03\x04"
MOST_BYTES = 2**31  # that an archive may unpack to
_LONGEST_HEADER = 12_000  # bytes; numpy refuses a text of more than 10,000
_NUMBERS = "buif"  # kinds of dtype that an image can have


def read_npy(
    content: bytes, *, channels: int, frame: NumberedFrame, as_shown: bool, max_pixels: int = MAX_PIXELS
) -> PixelValues:
    """Return the image of a `.npy` file; see `pick_plane`.

    Raises:
        ValueError: it is damaged, too large, holds Python objects or anything but numbers, or its axes cannot be told.
    """
    layout = _read_layout(content)
    plane = pick_plane(layout.fill(content, layout.start), channels, frame)
    check_pixels(plane.shape[1], plane.shape[0], max_pixels)
    return PixelValues(plane)


def read_npz(
    content: bytes, *, channels: int, frame: NumberedFrame, as_shown: bool, max_pixels: int = MAX_PIXELS
) -> PixelValues | None:
    """Return the image of a `.npz` file that holds a single array; None where it is no archive. Errors: `read_npy`."""
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
                raise ValueError(f"it holds {held}, and an image is one: save one array to a file")
            with archive.open(names[0]) as file:
                layout = _read_layout(file.read(_LONGEST_HEADER))
            empty = np.broadcast_to(np.empty((), layout.dtype), layout.shape)
            height, width = pick_plane(empty, channels, frame).shape[:2]
            check_pixels(width, height, max_pixels)
            if layout.nbytes > MOST_BYTES:
                raise ValueError(f"it unpacks to {layout.nbytes:,} bytes, more than the limit of {MOST_BYTES:,}")
            with archive.open(names[0]) as file:
                file.read(layout.start)
                numbers = file.read(layout.nbytes)
                file.read(1)  # at its end its checksum is compared
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"it is damaged: {error}") from None
    return PixelValues(pick_plane(layout.fill(numbers, 0), channels, frame))


class _Layout(NamedTuple):
    """What the header of a `.npy` file says (numpy's NEP 1).

    Attributes:
        start: of the numbers, in bytes.
        is_fortran: the first axis comes first in memory.
    """

    start: int
    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def fill(self, content: bytes, start: int) -> np.ndarray:
        """Return the array whose numbers begin here, without a copy of them."""
        if len(content) - start < self.nbytes:
            raise ValueError(f"it is cut: {len(content) - start} of {self.nbytes} bytes of numbers are there")
        array = np.frombuffer(content, self.dtype, math.prod(self.shape), start)
        return array.reshape(self.shape, order="F" if self.is_fortran else "C")


def _read_layout(content: bytes) -> _Layout:
    size = 2 if content[6:7] == b"\x01" else 4  # bytes of the header's length, by the version of the format
    start = 8 + size + int.from_bytes(content[8 : 8 + size], "little")
    try:
        shape, is_fortran, dtype = _read_header(content[:start])
    except (ValueError, EOFError) as error:
        raise ValueError(f"it is no whole .npy file: {' '.join(str(error).split())}") from None
    require_numbers(dtype)
    return _Layout(start, shape, is_fortran, dtype)


@lru_cache(maxsize=64)  # images of one size have one, which takes as long to parse as a small one to read
def _read_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    return read_header(io.BytesIO(header))


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, whether the first axis comes first in memory, and the type of numbers, by the head of a `.npy`."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def require_numbers(dtype: np.dtype) -> None:
    """Raise ValueError where values of an array are no plain numbers."""
    if dtype.hasobject:
        raise ValueError("it holds Python objects (pickle), which may run code and are not read: save it as numbers")
    if dtype.kind not in _NUMBERS or dtype.itemsize > 8:
        raise ValueError(f"its values are {dtype}, which are no numbers that an image can have")


def pick_plane(array: np.ndarray, channels: int, frame: NumberedFrame) -> np.ndarray:
    """Return the image in an array of 2 to 4 dimensions, (H, W) or (H, W, channels of the array); a view where it can.

    Three dimensions are (H, W, C), or (C, H, W) where that axis alone can be the channels: it is as long as
    `images.channels` says, or 1 or 3 where these can be made of each other. Where `frame` says which, they are a stack
    of grey planes, (frames, H, W) or (H, W, frames), as `_frame_axis` finds; unless the last axis is the channels, or
    the first is more channels than three. Four are frames of what has three.

    Args:
        array: numbers of any type.
        channels: what `images.channels` says.
        frame: what `images.frame` says.

    Raises:
        ValueError: the axes cannot be told, or there is no such frame; the message has the shape and the option.
    """
    require_numbers(array.dtype)
    if array.ndim == 4:
        return _pick_image(array[choose_frame(len(array), frame)], channels)
    if array.ndim == 3 and frame is not None and not _has_channels(array.shape, channels):
        if (axis := _frame_axis(array.shape)) is None:
            raise ValueError(
                f"its shape is {array.shape}, and which axis counts its planes cannot be told: save it as "
                "(planes, H, W, 1), or give `images.reader` a function that returns the plane"
            )
        return np.moveaxis(array, axis, 0)[choose_frame(array.shape[axis], frame)]
    choose_frame(1, frame)
    return _pick_image(array, channels)


def _frame_axis(shape: tuple[int, ...]) -> int | None:
    """Return which axis of a stack of planes counts them, 0 or 2; None where both may.

    Planes are square, or less than twice as long as wide: so an axis stands for itself where the two others are equal,
    or where it is at most half of each of them. For such planes no number of them makes the rule take another axis, so
    all files of a set are read alike; but for one that happens to hold exactly as many planes as these have rows or
    columns.
    """
    first, middle, last = shape
    if (first != middle) != (middle != last):  # two that are beside each other are equal
        return 0 if middle == last else 2
    if 2 * first <= min(middle, last):
        return 0
    return 2 if 2 * last <= min(first, middle) else None


def _has_channels(shape: tuple[int, ...], channels: int) -> bool:
    """Return whether three dimensions are an image with channels although a frame is wanted."""
    return _can_be(shape[2], channels) or (channels > 3 and shape[0] == channels)


def _can_be(length: int, channels: int) -> bool:
    return length == channels or (length in (1, 3) and channels in (1, 3))


def _pick_image(array: np.ndarray, channels: int) -> np.ndarray:
    """Return an array of 2 or 3 dimensions with its channels last."""
    if array.ndim == 2:
        return array
    shape = array.shape
    if array.ndim != 3:
        raise ValueError(f"its shape is {shape}, and an image has 2 or 3 dimensions, or 4 with frames")
    for fits in ([length == channels for length in shape], [_can_be(length, channels) for length in shape]):
        if fits[2] and fits[0]:
            raise ValueError(
                f"its shape is {shape}: its channels may be first or last; write one image a file as (H, W, C)"
            )
        if fits[2] or fits[0]:
            return array if fits[2] else array.transpose(1, 2, 0)
    stack = "`--images.frame middle` (or a number) for one plane of a stack"
    if _frame_axis(shape) is None:
        stack = "save a stack as (planes, H, W, 1), as nothing says which axis counts them"
    likely = min(shape[0], shape[2])
    raise ValueError(
        f"its shape is {shape}, and `images.channels` is {channels}: say `--images.channels {likely}`, or {stack}"
    )


def choose_frame(count: int, frame: NumberedFrame) -> int:
    """Return the position of the frame that `images.frame` says, of so many.

    Raises:
        ValueError: it says none, and there are several; or there is no such frame.
    """
    if frame is None:
        if count != 1:
            raise ValueError(f"it holds {count} frames: say which one with `--images.frame middle`, or a number from 0")
        return 0
    place = count // 2 if frame == "middle" else frame + count if frame < 0 else frame
    if not 0 <= place < count:
        raise ValueError(f"it holds {count} frame{'s' if count != 1 else ''}, and `images.frame` is {frame}")
    return place
