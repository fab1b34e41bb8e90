"""Views of test-time augmentation: pure functions on pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from imettk.config.choices import VIEWS
from imettk.data.geometry import VIEW_MAPS, invert
from imettk.data.sampling import derive_seed

ZOOM = 1 / 16  # share of the side that a zoom takes off, or adds, at each edge


def plain(images: Tensor) -> Tensor:
    """The images as they are."""
    return images


def hflip(images: Tensor) -> Tensor:
    """Mirrored left to right."""
    return images.flip(-1)


def vflip(images: Tensor) -> Tensor:
    """Mirrored top to bottom."""
    return images.flip(-2)


def rot90(images: Tensor) -> Tensor:
    """Turned by a right angle, counterclockwise."""
    return images.rot90(1, (-2, -1))


def rot180(images: Tensor) -> Tensor:
    """Turned by two right angles."""
    return images.rot90(2, (-2, -1))


def rot270(images: Tensor) -> Tensor:
    """Turned by a right angle, clockwise."""
    return images.rot90(3, (-2, -1))


def transpose(images: Tensor) -> Tensor:
    """Mirrored at the diagonal."""
    return images.transpose(-2, -1)


def transverse(images: Tensor) -> Tensor:
    """Mirrored at the other diagonal."""
    return images.transpose(-2, -1).flip(-2, -1)


def zoom_in(images: Tensor) -> Tensor:
    """A little larger: the edges are cut off."""
    height, width = images.shape[-2:]
    top, left = max(1, round(height * ZOOM)), max(1, round(width * ZOOM))
    return _resize(images[..., top : height - top, left : width - left], (height, width))


def zoom_out(images: Tensor) -> Tensor:
    """A little smaller: the edges are repeated around it."""
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


rot45, rot135, rot225, rot315 = (_odd(view) for view in ("rot45", "rot135", "rot225", "rot315"))


def apply_view(images: Tensor, view: str) -> Tensor:
    """One view of pixels in [0, 255], (B, H, W, channels) uint8 -> float32 of the same shape.

    Views that turn by a right angle exchange H and W.
    """
    return VIEWS[view].load()(images.permute(0, 3, 1, 2).float()).permute(0, 2, 3, 1)


def crop(images: Tensor, view: str, *, size: tuple[int, int], rows: Tensor) -> Tensor:
    """Cut a view's part from images: the centre, or a random place for `crop0`, ...; (B, H, W, channels) -> `size`.

    Args:
        rows: of the table, int64 (B,): they and the view decide the place, whatever batch an image is in.
    """
    height, width = images.shape[1] - size[0], images.shape[2] - size[1]
    if (number := VIEWS[view].crop) is None:
        return images[:, height // 2 : height // 2 + size[0], width // 2 : width // 2 + size[1]]
    cut = []
    for image, row in zip(images, rows.tolist(), strict=True):
        place = derive_seed(number, row)
        top, left = place % (height + 1), (place >> 32) % (width + 1)
        cut.append(image[top : top + size[0], left : left + size[1]])
    return torch.stack(cut)
