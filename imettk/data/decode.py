"""One image file -> uint8 pixels."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from imettk.errors import DataError


def decode_image(path: str, *, channels: int, image_size: tuple[int, int]) -> np.ndarray:
    """Read and resize an image.

    Args:
        channels: 1 for grey, 3 for RGB.
        image_size: (height, width) in pixels.

    Returns:
        uint8 (height, width, channels).

    Raises:
        DataError: the file cannot be read as an image.
    """
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    try:
        image = (
            cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR) if len(encoded) else None
        )
    except cv2.error:  # an absurd size, for one
        image = None
    if image is None:
        raise DataError(f"{path} is not an image that OpenCV can decode ({len(encoded)} bytes)")
    height, width = image_size
    if image.shape[:2] != image_size:
        shrinks = image.shape[0] >= height and image.shape[1] >= width
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return image[:, :, None] if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def find_fault(path: str) -> str | None:
    """Why the file is not a whole image, or None. Slower than OpenCV, which may return half an image in silence."""
    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:  # Pillow raises SyntaxError, struct.error and others besides OSError
        return " ".join(str(error).split()) or type(error).__name__
    return None
