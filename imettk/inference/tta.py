"""Views of test-time augmentation: pure functions on pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from imettk.data.geometry import VIEW_MAPS, invert

ZOOM = 1 / 16  # share of the side that a zoom takes off, or adds, at each edge


def _zoom_in(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    top, left = max(1, round(height * ZOOM)), max(1, round(width * ZOOM))
    return _resize(images[..., top : height - top, left : width - left], (height, width))


def _zoom_out(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    top, left = max(1, round(height * ZOOM)), max(1, round(width * ZOOM))
    return _resize(functional.pad(images, (left, left, top, top), mode="replicate"), (height, width))


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def _odd(view: str) -> Callable[[Tensor], Tensor]:
    """A turn by an odd multiple of 45 degrees, with a central crop: the same map as in `dihedral` augmentation."""
    a, b, _, d, e, _ = invert(VIEW_MAPS[view])

    def turn(images: Tensor) -> Tensor:
        theta = torch.tensor([[a, b, 0.0], [d, e, 0.0]], device=images.device).expand(len(images), 2, 3)
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    return turn


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda images: images,
    "hflip": lambda images: images.flip(-1),
    "vflip": lambda images: images.flip(-2),
    "rot90": lambda images: images.rot90(1, (-2, -1)),
    "rot180": lambda images: images.rot90(2, (-2, -1)),
    "rot270": lambda images: images.rot90(3, (-2, -1)),
    "transpose": lambda images: images.transpose(-2, -1),
    "transverse": lambda images: images.transpose(-2, -1).flip(-2, -1),
    **{view: _odd(view) for view in ("rot45", "rot135", "rot225", "rot315")},
    "zoom_in": _zoom_in,
    "zoom_out": _zoom_out,
}


def apply_view(images: Tensor, view: str) -> Tensor:
    """One view of pixels in [0, 255], (B, H, W, channels) uint8 -> float32 of the same shape.

    Views that turn by a right angle exchange H and W.
    """
    return VIEWS[view](images.permute(0, 3, 1, 2).float()).permute(0, 2, 3, 1)
