"""Elastic displacements are smooth, as strong as requested, and move pixels as SciPy does."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from imettk.data.elastic import GRAIN, displacements
from imettk.data.geometry import invert, join, rotate, scale, shift
from imettk.data.warp import warp


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_moved_pixels_are_those_that_scipy_finds(channels):
    """Only inside the image: beyond it, the border decides."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 50, channels), np.uint8)
    affine = join(shift(21, 19), rotate(17), scale(0.8, 0.9), shift(-25, -30))
    moves = displacements((40, 44), (0.1, 0.9, 0.5, 0.3), 0.03)
    found = warp(image, affine, (40, 44), border=cv2.BORDER_CONSTANT, moves=moves)
    a, b, c, d, e, f = invert(affine)
    y, x = np.mgrid[:40, :44] + 0.5
    x, y = x + moves[0], y + moves[1]
    columns, rows = a * x + b * y + c - 0.5, d * x + e * y + f - 0.5
    inside = (rows > 0) & (rows < 59) & (columns > 0) & (columns < 49)
    assert inside.mean() > 0.5
    for channel in range(channels):
        theirs = ndimage.map_coordinates(image[:, :, channel].astype(float), [rows, columns], order=1)
        assert np.abs(found[:, :, channel] - theirs)[inside].max() <= 8  # OpenCV's places are 1/32 of a pixel
    assert np.abs(found[:, :, 0] - ndimage.map_coordinates(image[:, :, 0].astype(float), [rows, columns], order=1))[
        inside
    ].mean() < 1.5  # fmt: skip


def test_displacements_are_smooth_and_as_strong_as_asked():
    rng = np.random.default_rng(0)
    drawn = [displacements((80, 40), tuple(rng.random(4)), 0.05) for _ in range(200)]
    across, down = np.stack([move[0] for move in drawn]), np.stack([move[1] for move in drawn])
    assert across.std() == pytest.approx(0.05 * 40, rel=0.1) and down.std() == pytest.approx(0.05 * 80, rel=0.1)
    assert np.corrcoef(across.ravel(), down.ravel())[0, 1] == pytest.approx(0, abs=0.05)
    # Neighbours move alike: the correlation of a smoothed noise at a distance x is exp(-x^2 / 4 sigma^2).
    for lag in (1, 4, 8):
        found = np.corrcoef(across[:, :, lag:].ravel(), across[:, :, :-lag].ravel())[0, 1]
        assert found == pytest.approx(np.exp(-(lag**2) / (4 * (GRAIN * 40) ** 2)), abs=0.06)
