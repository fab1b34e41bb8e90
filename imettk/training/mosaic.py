"""Mosaic: four images of a batch in one (YOLOv4, arXiv 2004.10934), for targets that are mixed by area."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

CENTRE = (0.3, 0.7)  # range of the place where the four meet, as a share of each side; albumentations' default too


def make_mosaics(pixels: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Make each of B images the first of a mosaic of four different ones, of all that there are if B is below four.

    They meet at one place in the whole batch. Each is scaled to cover its quarter, and its centre is cut out, so most
    of every image is still to be seen, at a smaller scale.

    Args:
        pixels: float32 (B, channels, H, W).

    Returns:
        The mosaics, and the share of each image (column) in each of them (row), float32 (B, B).
    """
    count, _, height, width = pixels.shape
    top, left = (round(side * generator.uniform(*CENTRE)) for side in (height, width))
    order = generator.permutation(count)  # each image is followed by the other three of its mosaic
    mosaics, parts = torch.empty_like(pixels), torch.zeros(count, count, device=pixels.device)
    quarters = ((0, 0, top, left), (0, left, top, width), (top, 0, height, left), (top, left, height, width))
    for number, (first_row, first_column, last_row, last_column) in enumerate(quarters):
        shown = np.empty(count, np.int64)
        shown[order] = np.roll(order, -number)
        places = torch.from_numpy(shown).to(pixels.device)
        size = last_row - first_row, last_column - first_column
        mosaics[:, :, first_row:last_row, first_column:last_column] = _cover(pixels, size)[places]
        share = size[0] * size[1] / (height * width)
        parts += share * functional.one_hot(places, count)
    return mosaics, parts


def _cover(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale images to cover a size, and cut out their centre."""
    height, width = pixels.shape[2:]
    scale = max(size[0] / height, size[1] / width)
    scaled = max(size[0], round(height * scale)), max(size[1], round(width * scale))
    images = functional.interpolate(pixels, scaled, mode="bilinear", align_corners=False, antialias=True)
    top, left = (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2
    return images[:, :, top : top + size[0], left : left + size[1]]
