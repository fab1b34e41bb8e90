"""The rows of AUGMENTATIONS, and random numbers that make each draw a function of its position."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import cv2
import numpy as np

from imettk.config.choices import AUGMENTATIONS, Choice
from imettk.data.geometry import VIEW_MAPS
from imettk.data.noise import Noise
from imettk.data.sampling import derive_seed
from imettk.data.warp import A, Warp

# A pipeline takes the (height, width) of the network's input and the number of channels; images come in `load_size`.
# All geometry is one `Warp`, which reads each pixel once; everything else is albumentations'.


def none(size: tuple[int, int], channels: int) -> list[Any]:
    """Return no transform: images are only resized."""
    return []


def flips(size: tuple[int, int], channels: int) -> list[Any]:
    """Return horizontal flips."""
    return [Warp(size, hflip=0.5)]


def affine(size: tuple[int, int], channels: int) -> list[Any]:
    """Return small changes of position, angle, scale and light for upright subjects such as digits."""
    return [
        Warp(size, scale=(0.85, 1.15), rotate=(-10, 10), shift=(-0.06, 0.06), border=cv2.BORDER_CONSTANT),
        A.RandomBrightnessContrast(p=0.5),
    ]


def strokes(size: tuple[int, int], channels: int) -> list[Any]:
    """Return rotation, slant, stretch and shake for handwriting and drawings (light on black); brightness stays."""
    warp = Warp(
        size,
        area=(0.75, 1.0),
        ratio=(0.8, 1.25),
        scale=(0.8, 1.1),
        rotate=(-15, 15),
        shear=(-12, 12),
        shift=(-0.08, 0.08),
        elastic=(0.0, 0.03),
        border=cv2.BORDER_CONSTANT,
    )
    return [warp]


def aggressive(size: tuple[int, int], channels: int) -> list[Any]:
    """Return the strong pipeline of iMet 2019, on random crops."""
    return [
        Warp(size, area=(0.3, 1.0), ratio=(3 / 4, 4 / 3), hflip=0.5, rotate=(-15, 15), shear=(-5, 5)),
        *_colours(channels, p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.25, p=0.6),
        A.OneOf([A.MotionBlur(blur_limit=5), A.GaussianBlur(blur_limit=(3, 5)), A.Sharpen()], p=0.25),
        Noise(std=(0.02, 0.08), p=0.25),
    ]


def square(size: tuple[int, int], channels: int) -> list[Any]:
    """Return the mild pipeline of iMet 2019, after crops of images with extreme aspect ratios."""
    return [
        Warp(size, area=(0.7, 1.0), hflip=0.5, rotate=(-8, 8), p=0.9),
        *_colours(channels, p=0.3),
        A.RandomBrightnessContrast(p=0.4),
    ]


def whale_heavy(size: tuple[int, int], channels: int) -> list[Any]:
    """Return the pipeline of GDSC 2020, for photographs from a boat in any weather."""
    return [
        Warp(size, area=(0.8, 1.0), rotate=(-20, 20), shear=(-8, 8), scale=(0.9, 1.1), shift=(-0.05, 0.05)),
        A.OneOf([A.Perspective(scale=(0.03, 0.08), keep_size=True), A.ElasticTransform(alpha=30, sigma=6)], p=0.3),
        *_colours(channels, p=0.5),
        A.RandomBrightnessContrast(p=0.5),
        A.OneOf([A.MotionBlur(blur_limit=7), A.GaussianBlur(blur_limit=(3, 7)), A.Sharpen()], p=0.4),
        *([A.RandomRain(blur_value=3, p=0.15)] if channels == 3 else []),
        Noise(std=(0.02, 0.1), p=0.3),
        A.CoarseDropout(num_holes_range=(1, 4), hole_height_range=(0.05, 0.15), hole_width_range=(0.05, 0.15), p=0.3),
    ]


def dihedral(size: tuple[int, int], channels: int) -> list[Any]:
    """Return the views of Turtles 2022.

    Half of the images stay; the others get one of nine views: two flips, right angles, and odd multiples of 45 degrees
    with a central crop.
    """
    return [Warp(size, choices=tuple(VIEW_MAPS[view] for view in DIHEDRAL_VIEWS), p=0.5)]


def protein(size: tuple[int, int], channels: int) -> list[Any]:
    """Return the pipeline of HPA 2018: random crops without resizing, because the scale of a cell is informative."""
    return [Warp(size, area=None, hflip=0.5, right_angles=True)]


def lesion(size: tuple[int, int], channels: int) -> list[Any]:
    """Return the strong pipeline of SIIM-ISIC 2020, for photographs of skin from many clinics, in any orientation."""
    hole = (0.375, 0.375)
    return [
        Warp(
            size,
            hflip=0.5,
            right_angles=True,
            rotate=(-15, 15),
            scale=(0.9, 1.1),
            shift=(-0.1, 0.1),
            border=cv2.BORDER_CONSTANT,
        ),
        *_light(0.2, p=0.75),
        A.OneOf([*_blurs(5), Noise(std=(0.009, 0.021))], p=0.7),
        A.OneOf(
            [
                A.OpticalDistortion((-1, 1), border_mode=cv2.BORDER_REFLECT_101),
                A.GridDistortion(5, (-1, 1), border_mode=cv2.BORDER_REFLECT_101),
                A.ElasticTransform(alpha=3, border_mode=cv2.BORDER_REFLECT_101),
            ],
            p=0.7,
        ),
        *([A.CLAHE((1, 4), p=0.7)] if channels in (1, 3) else []),
        *([A.HueSaturationValue(10, 20, 10, p=0.5)] if channels == 3 else []),
        A.CoarseDropout(num_holes_range=(1, 1), hole_height_range=hole, hole_width_range=hole, p=0.7),
    ]


def leaves(size: tuple[int, int], channels: int) -> list[Any]:
    """Return the pipeline of Plant Pathology 2020: mostly geometry."""
    return [
        Warp(size, hflip=0.5, vflip=0.5, rotate=(-20, 20), scale=(0.8, 1.2), shift=(-0.2, 0.2)),
        A.OneOf(_light(0.1, p=1.0), p=0.5),
        A.OneOf(_blurs(3), p=0.5),
    ]


def pasture(size: tuple[int, int], channels: int) -> list[Any]:
    """Return the pipeline of CSIRO 2025: flips and light without crops, because targets are totals over the square."""
    return [Warp(size, hflip=0.5, vflip=0.5), A.RandomBrightnessContrast(p=0.5), *_colours(channels, p=0.3)]


def retina(size: tuple[int, int], channels: int) -> list[Any]:
    """Return the pipeline of APTOS 2019: any orientation, and the light, colour, sharpness and distance of cameras."""
    warp = Warp(
        size,
        hflip=0.5,
        rotate=(-180, 180),
        scale=(0.8, 1.2),
        shear=(-11, 11),
        shift=(-0.2, 0.2),
        border=cv2.BORDER_CONSTANT,
    )
    return [
        warp,
        A.RandomBrightnessContrast(0.08, 0.2, p=0.8),
        *([A.HueSaturationValue(10, 20, 0, p=0.8)] if channels == 3 else []),
        A.OneOf([A.GaussianBlur((3, 5)), A.Sharpen()], p=0.5),
    ]


def pets(size: tuple[int, int], channels: int) -> list[Any]:
    """Return the pipeline of Pawpularity 2021, at 224 pixels: random crops and flips."""
    return [Warp(size, area=None, hflip=0.5, vflip=0.5)]


def _light(limit: float, p: float) -> list[Any]:
    """Return changes of brightness and of contrast, each up to this fraction."""
    return [A.RandomBrightnessContrast(limit, 0, p=p), A.RandomBrightnessContrast(0, limit, p=p)]


def _blurs(largest: int) -> list[Any]:
    """Return blurs with kernels of up to `largest` pixels, an odd number."""
    limit = (3, largest)
    return [A.MotionBlur(limit), A.MedianBlur(limit), A.GaussianBlur(limit)]


def _colours(channels: int, p: float) -> list[Any]:
    """Return changes of hue and colour; none unless images are RGB."""
    if channels != 3:
        return []
    return [A.OneOf([A.HueSaturationValue(15, 30, 15), A.RGBShift(15, 15, 15), A.RandomGamma((80, 120))], p=p)]


DIHEDRAL_VIEWS = ("hflip", "vflip", "rot90", "rot180", "rot270", "rot45", "rot135", "rot225", "rot315")


class Augmentation:
    """A pipeline whose draw for a sample depends only on (seed, epoch, position).

    Args:
        pipeline: a row of AUGMENTATIONS or its name, or a user's own.
        size: (height, width) of the result in pixels.
        channels: number of channels of the images.
        erasing: share of the images in which a random rectangle is erased (random erasing, arXiv 1708.04896).
    """

    def __init__(
        self,
        pipeline: str | Choice,
        *,
        seed: int,
        size: tuple[int, int],
        channels: int = 3,
        erasing: float = 0.0,
    ) -> None:
        settings: dict[str, Any] = {"seed": seed, "size": size, "channels": channels, "erasing": erasing}
        self._made_of = pipeline, settings  # for `__reduce__`
        self._seed = seed
        row = AUGMENTATIONS[pipeline] if isinstance(pipeline, str) else pipeline
        transforms = list(row.load()(size, channels))
        if erasing:  # last, on the final pixels: later transforms would blend the rectangle into the image
            transforms.append(A.Erasing(scale=(0.02, 0.33), ratio=(0.3, 3.3), fill="random_uniform", p=erasing))
        # A leading warp is called directly: albumentations needs 70 us to call a transform, while mirroring an image
        # takes 20.
        self._warp = transforms.pop(0) if transforms and isinstance(transforms[0], Warp) else None
        self._compose = A.Compose(transforms) if transforms else None
        # One generator of each kind is handed over once and reset in place for each sample: 7 us instead of 221 with
        # `Compose.set_random_seed`.
        self._bits = np.random.Philox(key=0)
        self._fresh = self._bits.state
        self._python = random.Random()
        generator = np.random.Generator(self._bits)
        for part in (self._warp, self._compose):
            if part is not None:
                part.set_random_state(generator, self._python)

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild it in the other process, which may not find a user's own transforms by name."""
        pipeline, settings = self._made_of
        return partial(Augmentation, pipeline, **settings), ()

    def __call__(self, image: np.ndarray, *, epoch: int, position: int) -> np.ndarray:
        """Return the augmented image, uint8 (H, W, channels); it has the pipeline's size if that includes a warp."""
        if self._warp is None and self._compose is None:
            return image
        key = derive_seed(self._seed, epoch, position)
        self._python.seed(key)
        if self._compose is not None:  # a warp draws only from Python's generator, so the reset can be saved
            self._fresh["state"]["key"][:] = (key, 0)
            self._bits.state = self._fresh
        if self._warp is not None:
            image = self._warp.apply(image, **self._warp.draw(image.shape))
        return image if self._compose is None else self._compose(image=image)["image"]
