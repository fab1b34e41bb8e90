"""TIFF files that Pillow reads wrongly: several deep channels, floats, more than four channels, unusual layouts.

All other TIFFs are left to Pillow, so that their pixels are the same with and without tifffile installed.
"""

from __future__ import annotations

import io
import struct
from typing import Any, NamedTuple

import numpy as np

from imettk.data.arrays import NumberedFrame, choose_frame, require_numbers
from imettk.data.decode import find_fault
from imettk.data.pixel_values import MAX_PIXELS, PixelValues, check_pixels

# Tags and their values (TIFF 6.0, section 8; BigTIFF uses 8 bytes in place of 4 or 2).
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_ORIENTATION, _SAMPLES, _PLANAR, _EXTRA, _FORMAT = 274, 277, 284, 338, 339
_DEFAULTS = {_WIDTH: 0, _HEIGHT: 0, _EXTRA: 0} | dict.fromkeys(
    (_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR, _FORMAT), 1
)
_NUMBER_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_WHITE_IS_ZERO = 0
_COLOURS = (2, 5, 6, 8)  # RGB, CMYK, YCbCr, L*a*b*
_PALETTE = 3
_SEPARATE = 2
_PLAIN = 1  # not compressed
# Compressions that every build of Pillow and OpenCV reads: none, CCITT, LZW, JPEG, deflate, PackBits.
_COMMON = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946))


class TiffHeader(NamedTuple):
    """Description of a TIFF's values in its first page.

    Attributes:
        width: in pixels, as stored.
        height: as stored.
        bits: bits per sample.
        samples: samples per pixel: its channels.
        form: 1 for unsigned integers, 2 for signed ones, 3 for floats.
        photometric: 0 if small values are bright.
        is_separate: each channel is stored separately.
        has_alpha: the first extra channel beside the colours is alpha.
        compression: number of the compression.
        num_pages: number of pages in the file.
        is_big_endian: numbers begin with their high byte.
        is_big: offsets have 64 bits (BigTIFF).
    """

    width: int
    height: int
    bits: int
    samples: int
    form: int
    photometric: int
    is_separate: bool
    has_alpha: bool
    compression: int
    num_pages: int
    is_big_endian: bool
    is_big: bool


def read_tiff(
    content: bytes, *, channels: int, frame: NumberedFrame, as_shown: bool, max_pixels: int = MAX_PIXELS
) -> PixelValues | None:
    """Return the values of a TIFF that Pillow would read wrongly; None for all others, including damaged headers.

    Pages of one channel each are the channels of one image if there are exactly `channels` of them, and `channels` is
    neither 1 nor 3; otherwise `frame` selects the page.

    Raises:
        ValueError: it is damaged or too large, or holds several pages and `frame` selects none.
        ModuleNotFoundError: tifffile is not installed.
    """
    header = read_tiff_header(content)
    if header is None:
        return None
    pages_are_channels = channels not in (1, 3) and frame is None and header.samples == 1 < header.num_pages == channels
    # With interleaved channels on the first page, OpenCV supplies the bits that Pillow drops; see `data.depth`.
    helped = channels in (1, 3) and not header.is_separate and header.compression in _COMMON
    all_bits = frame is not None or not (as_shown or helped)
    # `beyond`: Pillow would read it wrongly. `is_rare`: some builds of Pillow cannot read it at all.
    beyond = pages_are_channels or _is_beyond_pillow(header, channels, all_bits=all_bits)
    is_rare = header.compression not in _COMMON or (header.bits == 32 and header.form == _UNSIGNED)
    is_rare |= header.is_big and header.is_big_endian
    if not (beyond or is_rare):
        return None
    check_pixels(header.width, header.height, max_pixels)  # by the header: a file of 290 kB may unpack to 300 MB
    if not beyond and not find_fault(content):  # rare, but this build of Pillow can read it
        return None
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            values = _read_pages(file, frame, together=pages_are_channels)
    except MemoryError:
        raise
    except Exception as error:  # codecs raise exceptions of their own
        raise ValueError(" ".join(str(error).split()) or f"it is damaged: {type(error).__name__}") from None
    require_numbers(values.numbers.dtype)
    if header.photometric == _PALETTE:
        raise ValueError("its colours are a palette, which cannot be read from this kind of TIFF: save it as a PNG")
    # 32-bit integers hardly ever use their full range, so their white is unknown, as in arrays and with Pillow.
    white = 2**header.bits - 1 if header.form == _UNSIGNED and header.bits <= 16 else None
    return values._replace(white=white, inverted=header.photometric == _WHITE_IS_ZERO)


def read_tiff_header(content: bytes) -> TiffHeader | None:
    """Read the first page of a TIFF; None if it cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None:
        return None
    try:
        is_big = struct.unpack_from(order + "H", content, 2)[0] == 43
        offset, count, entry = ("Q", "Q", "HHQ") if is_big else ("I", "H", "HHI")
        (start,) = struct.unpack_from(order + offset, content, 8 if is_big else 4)
        values, num_pages, at = dict(_DEFAULTS), 0, start
        pages = set[int]()
        while at and at not in pages:  # a damaged file may chain its pages in a circle
            pages.add(at)
            (number,) = struct.unpack_from(order + count, content, at)
            first, size = at + struct.calcsize(order + count), 20 if is_big else 12
            if num_pages == 0:
                for place in range(first, first + size * number, size):
                    tag, kind, length = struct.unpack_from(order + entry, content, place)
                    if tag in values and kind in _NUMBER_TYPES:
                        values[tag] = _first_value(content, order, place + size, _NUMBER_TYPES[kind], length, offset)
            num_pages += 1
            (at,) = struct.unpack_from(order + offset, content, first + size * number)
    except (struct.error, OverflowError):  # damaged offsets
        return None
    return TiffHeader(
        width=values[_WIDTH],
        height=values[_HEIGHT],
        bits=values[_BITS],
        samples=values[_SAMPLES],
        form=values[_FORMAT],
        photometric=values[_PHOTOMETRIC],
        is_separate=values[_PLANAR] == _SEPARATE,
        has_alpha=values[_EXTRA] in (1, 2),
        compression=values[_COMPRESSION],
        num_pages=num_pages,
        is_big_endian=order == ">",
        is_big=is_big,
    )


def _first_value(content: bytes, order: str, end: int, kind: str, length: int, offset: str) -> int:
    """Return the first value of a tag whose entry ends at `end`; small values are stored in the entry itself."""
    at = end - struct.calcsize(order + offset)
    if length * struct.calcsize(order + kind) > end - at:
        (at,) = struct.unpack_from(order + offset, content, at)
    return int(struct.unpack_from(order + kind, content, at)[0])


def _is_beyond_pillow(header: TiffHeader, channels: int, *, all_bits: bool) -> bool:
    """Return whether Pillow refuses such a file or returns wrong values; found by experiment.

    Args:
        all_bits: all bits of several deep channels are needed, not only the upper 8.
    """
    bits, form = header.bits, header.form
    if header.samples == 1:
        if header.photometric == _WHITE_IS_ZERO:
            return bits > 8 or form != _UNSIGNED
        if form != _UNSIGNED and header.is_big_endian and header.compression != _PLAIN:
            return True  # Pillow swaps bytes that libtiff has swapped already
        whole = (1, 2, 4, 8, 12, 16, 32)
        return bits not in {_UNSIGNED: whole, _SIGNED: (16, 32), _FLOAT: (32,)}.get(form, ())
    if form != _UNSIGNED or bits not in (8, 16):
        return True
    is_colour = header.photometric in _COLOURS
    as_usual = channels in (1, 3)
    if bits == 16:
        is_misread = header.is_separate and header.compression == _PLAIN  # Pillow mixes up the bytes of channels
        return not is_colour or header.samples > 4 or all_bits or is_misread
    if is_colour:
        return header.samples > 4 and not as_usual
    return header.is_separate or header.samples > 2 or not (as_usual or header.has_alpha)


def _read_pages(file: Any, frame: NumberedFrame, *, together: bool) -> PixelValues:
    """Return the numbers of one page, (H, W) or (H, W, channels), or of all pages of the first one's size, stacked."""
    pages = [page for page in file.pages if page.shape == file.pages[0].shape]
    page = pages[0 if together else choose_frame(len(pages), frame)]
    orientation = int(page.tags.valueof(_ORIENTATION, 1))
    if together:
        return PixelValues(np.stack([page.asarray(maxworkers=1) for page in pages], axis=-1), orientation=orientation)
    numbers: np.ndarray = page.asarray(maxworkers=1)
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"its shape is {numbers.shape} with axes {page.axes}, but an image has rows and columns")
    return PixelValues(np.moveaxis(numbers, 0, 2) if page.axes == "SYX" else numbers, orientation=orientation)
