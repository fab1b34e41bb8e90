"""Smooth random displacements, as of a hand that is never quite the same (Simard, Steinkraus and Platt 2003).

They are windows of one field that is drawn once: albumentations draws and smooths a new field for each image, which
takes ten times as long as warping a small one.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

GRAIN = 0.1  # standard deviation of the smoothing Gaussian, as a fraction of the side
_SIDE = 1024
_SIGMA = 6.0  # in pixels of the field
_WINDOW = round(_SIGMA / GRAIN)

Places = tuple[float, float, float, float]


@functools.cache
def _field() -> np.ndarray:
    """Return smooth normal noise with standard deviation 1, float32 (1024, 1024), the same in every process."""
    noise = np.random.Generator(np.random.Philox(key=2)).standard_normal((_SIDE, _SIDE), np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT)
    return (smooth / smooth.std()).astype(np.float32)


def displacements(size: tuple[int, int], places: Places, std: float) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each pixel moves to the right and down.

    Args:
        size: (height, width) in pixels.
        places: positions in the field, in [0, 1): left and top of the window for x, then for y.
        std: standard deviation of the displacements, as a fraction of the side.

    Returns:
        Pixels, float32 (height, width) each.
    """
    # A window of the same size whatever the image: resizing it keeps the grain the same fraction of the side.
    field, room = _field(), _SIDE - _WINDOW
    lefts, tops = [int(place * room) for place in places[::2]], [int(place * room) for place in places[1::2]]
    across, down = (
        cv2.resize(field[top : top + _WINDOW, left : left + _WINDOW], size[::-1]) * (std * side)
        for left, top, side in zip(lefts, tops, size[::-1], strict=True)
    )
    return across, down
