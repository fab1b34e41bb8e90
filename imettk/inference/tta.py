"""Views of test-time augmentation: pure functions on pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from imettk.data.geometry import VIEW_MAPS, invert
from imettk.data.sampling import derive_seed

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
    **{f"crop{number}": lambda images: images for number in range(4)},  # cut out before: see `crop`
}


def apply_view(images: Tensor, view: str) -> Tensor:
    """One view of pixels in [0, 255], (B, H, W, channels) uint8 -> float32 of the same shape.

    Views that turn by a right angle exchange H and W.
    """
    return VIEWS[view](images.permute(0, 3, 1, 2).float()).permute(0, 2, 3, 1)


def crop(images: Tensor, view: str, *, size: tuple[int, int], rows: Tensor) -> Tensor:
    """What a view looks at: the centre, or for `crop0` and the like a random place, (B, H, W, channels) -> `size`.

    Args:
        rows: of the table, int64 (B,): they and the view decide the place, whatever batch an image is in.
    """
    height, width = images.shape[1] - size[0], images.shape[2] - size[1]
    if not view.startswith("crop"):
        return images[:, height // 2 : height // 2 + size[0], width // 2 : width // 2 + size[1]]
    cut = []
    for image, row in zip(images, rows.tolist(), strict=True):
        place = derive_seed(int(view[4:]), row)
        top, left = place % (height + 1), (place >> 32) % (width + 1)
        cut.append(image[top : top + size[0], left : left + size[1]])
    return torch.stack(cut)
