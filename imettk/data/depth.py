"""Images of more than 8 bits per channel: their white value, and their conversion to 8 bits."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from imettk.data.pixel_values import ValueRange

FULL_16 = 65535  # white, unless the file defines it
_PLANAR, _SEPARATE = 284, 2  # a TIFF tag, and its value if channels are stored separately
# Positions of Pillow's channels in what OpenCV reads (BGR), by Pillow's mode.
_PLACES = {"RGB": [2, 1, 0], "RGBA": [2, 1, 0, 3]}


class Depth(NamedTuple):
    """Interpretation of a file's values.

    Attributes:
        white: the file's white value; at most 255 if it has no more than 8 bits per channel.
        step: Pillow's grey step per step of 1 in the file: Pillow stretches some formats to 16 bits.
        is_unsigned: the file holds unsigned 32-bit values, which Pillow returns as signed.
    """

    white: int
    step: float = 1.0
    is_unsigned: bool = False


def read_depth(image: Image.Image, content: bytes) -> Depth:
    """Return the depth of an image that Pillow has opened but not loaded."""
    if image.mode == "F":
        return Depth(FULL_16)
    if image.format == "PNG":
        return Depth(FULL_16 if content[24] == 16 else 255)
    if isinstance(image, TiffImageFile):  # it may have 12 bits, which Pillow leaves in the lower part of 16
        bits = image.tag_v2.get(258, (8,))[0]
        return Depth(min(FULL_16, 2**bits - 1), is_unsigned=bits == 32 and image.tag_v2.get(339, (1,))[0] == 1)
    if image.format == "PPM" and (tiles := getattr(image, "tile", [])):
        settings = tiles[0].args  # the mode, or a tuple with the mode and the largest value
        if isinstance(settings, tuple) and len(settings) > 1:
            return Depth(int(settings[1]), FULL_16 / int(settings[1]))
    if image.format == "JPEG2000" and (bits := _jpeg2000_bits(content)) > 8:
        return Depth(2**bits - 1, 2.0 ** (16 - bits))
    return Depth(FULL_16 if image.mode.startswith("I") else 255)


def _jpeg2000_bits(content: bytes) -> int:
    """Return the bits of the first component, from the SIZ marker (ITU-T T.800, A.5.1); 8 without one."""
    at = content.find(b"\xff\x4f\xff\x51")
    return (content[at + 42] & 0x7F) + 1 if 0 <= at < len(content) - 42 else 8


def is_grey(image: Image.Image) -> bool:
    """Return whether Pillow keeps all bits of a deep image, as it does only for grey ones."""
    return image.mode.startswith(("I", "F"))


def grey_values(image: Image.Image, depth: Depth) -> np.ndarray:
    """Return the file's own values of a grey deep image, (H, W)."""
    values = np.asarray(image)
    if depth.is_unsigned and np.min(values) < 0:
        return values.view(np.uint32)
    return values if depth.step == 1 else np.rint(values / depth.step).astype(np.int32)


def read_colours(image: Image.Image, content: bytes) -> np.ndarray | None:
    """Return the full values of a deep image of which Pillow keeps 8 bits, uint16 (H, W, channels of its mode).

    None if OpenCV cannot read them correctly either.
    """
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PLANAR) == _SEPARATE:
        return None  # OpenCV mixes up separate planes
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    places = _PLACES.get(image.mode, [])
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] != len(places):
        return None
    return pixels[:, :, places]


def put_colours(image: Image.Image, values: np.ndarray, white: ValueRange) -> None:
    """Replace an image's colours by values scaled to `white`, in place; alpha is kept."""
    pixels = np.asarray(image).copy()
    pixels[:, :, :3] = white.scale(values[:, :, :3])
    image.paste(Image.fromarray(pixels))
