"""The rows of AUGMENTATIONS: pipelines for one kind of picture each, or of one technique."""

from __future__ import annotations

from typing import Any

import cv2

from imettk.data.auto_augment import AugMix, RandAugment
from imettk.data.geometry import VIEW_MAPS
from imettk.data.noise import Noise
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


def randaugment(size: tuple[int, int], channels: int) -> list[Any]:
    """Return random crops, flips and RandAugment (arXiv 1909.13719): two operations of magnitude 9."""
    return [_crops(size), RandAugment(num_ops=2, magnitude=9)]


def augmix(size: tuple[int, int], channels: int) -> list[Any]:
    """Return random crops, flips and AugMix (arXiv 1912.02781), with the paper's severity of 3."""
    return [_crops(size), AugMix(severity=3)]


def gridmask(size: tuple[int, int], channels: int) -> list[Any]:
    """Return random crops, flips and, on half of the images, GridMask (arXiv 2001.04086).

    A hole takes 0.4 of its unit of the grid each way, as in the paper; a unit is a seventh to a half of the side.
    """
    units = max(2, min(size) // 7), min(size) // 2 + 1
    return [_crops(size), A.GridDropout(ratio=0.4, unit_size_range=units, p=0.5)]


def spectrogram(size: tuple[int, int], channels: int) -> list[Any]:
    """Return SpecAugment's masks (arXiv 1904.08779) for sound as pictures, with time to the right; black is silence.

    Its policy LD: two bands of up to 27 of 80 frequencies, and two spans of up to a tenth of the time.
    """
    height, width = size
    spans, bands = (0, width // 10), (0, height * 27 // 80)
    return [Warp(size), A.XYMasking((2, 2), (2, 2), mask_x_length=spans, mask_y_length=bands, p=1.0)]


def _crops(size: tuple[int, int]) -> Warp:
    """Return the geometry that a policy goes with: crops of a third of the area or more, and flips."""
    return Warp(size, area=(0.35, 1.0), ratio=(3 / 4, 4 / 3), hflip=0.5)


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
