"""One warp equals what Pillow and NumPy do step by step."""

import cv2
import numpy as np
import pytest
from PIL import Image

from imettk.data.geometry import IDENTITY, VIEW_MAPS, invert, join, rotate, scale, shear, shift
from imettk.data.warp import Warp, warp

REFLECT = cv2.BORDER_REFLECT_101


def smooth(height=40, width=56, channels=3):
    blocks = np.random.default_rng(0).integers(0, 256, (6, 8, channels), np.uint8)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
@pytest.mark.parametrize("border", [REFLECT, cv2.BORDER_CONSTANT])
def test_a_general_warp_equals_pillow(channels, border):
    """Compare within the image; beyond it, with an image that was padded before."""
    image = smooth(channels=channels)
    affine = join(shift(30, 25), rotate(20), shear(5), scale(1.3, 0.9), shift(-28, -20))
    ours = warp(image, affine, (48, 60), border=border)
    pad = 30
    mode = "reflect" if border == REFLECT else "constant"
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode=mode)
    data = join(shift(pad, pad), invert(affine))
    for channel in range(channels):
        large = Image.fromarray(padded[:, :, channel])
        theirs = np.asarray(large.transform((60, 48), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))
        off = np.abs(ours[:, :, channel] - theirs.astype(int))
        assert off.mean() < 1 and np.quantile(off, 0.99) <= 8  # OpenCV works in steps of 1/32 pixel


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
@pytest.mark.parametrize(
    ("view", "theirs"),
    {
        "plain": lambda image: image,
        "hflip": lambda image: image[:, ::-1],
        "vflip": lambda image: image[::-1],
        "rot90": lambda image: np.rot90(image),
        "rot180": lambda image: np.rot90(image, 2),
        "rot270": lambda image: np.rot90(image, 3),
        "transpose": lambda image: image.swapaxes(0, 1),
        "transverse": lambda image: np.rot90(image, 2).swapaxes(0, 1),
    }.items(),
)
def test_mirrors_and_right_angles_are_exact(view, theirs, channels):
    image = np.random.default_rng(0).integers(0, 256, (40, 56, channels), np.uint8)
    size = theirs(image).shape[:2]
    affine = join(shift(size[1] / 2, size[0] / 2), VIEW_MAPS[view], shift(-28, -20))
    np.testing.assert_array_equal(warp(image, affine, size, border=REFLECT), theirs(image))


def test_a_whole_shift_is_a_slice():
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    np.testing.assert_array_equal(warp(image, shift(-7, -5), (20, 30), border=REFLECT), image[5:25, 7:37])


def test_resizing_is_that_of_opencv_and_shrinks_by_means():
    image = smooth(80, 112)
    ours = warp(image, scale(0.75, 0.6), (48, 84), border=REFLECT)
    theirs = cv2.resize(image, (84, 48), interpolation=cv2.INTER_LINEAR)
    assert np.abs(ours - theirs.astype(int)).mean() < 1
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    small = warp(noise, scale(1 / 8, 1 / 8), (12, 12), border=REFLECT)
    assert np.abs(small - noise.reshape(12, 8, 12, 8, 3).mean((1, 3))).mean() < 8
    assert small.std() < 20, "a warp that skips pixels would keep the spread of the noise, 74"


def draw(transform, image, count=300):
    import random

    transform.set_random_state(np.random.default_rng(0), random.Random(0))
    for _ in range(count):
        yield transform.get_params_dependent_on_data({"shape": image.shape}, {})["affine"]


def test_a_random_part_lies_in_the_image_and_has_its_area_and_ratio():
    image, areas = smooth(), []
    for affine in draw(Warp((32, 32), area=(0.3, 0.8), ratio=(0.8, 1.25)), image):
        left, top = invert(affine)[2], invert(affine)[5]
        a, b, c, d, e, f = invert(affine)
        right, bottom = a * 32 + b * 32 + c, d * 32 + e * 32 + f
        assert left >= -1e-9 and top >= -1e-9 and right <= 56 + 1e-9 and bottom <= 40 + 1e-9
        areas.append((right - left) * (bottom - top) / (40 * 56))
        assert 0.8 - 1e-9 <= (right - left) / (bottom - top) * 40 / 56 <= 1.25 + 1e-9
    assert min(areas) == pytest.approx(0.3, abs=0.02) and max(areas) == pytest.approx(0.8, abs=0.02)


def test_without_any_range_nothing_happens_but_a_resize():
    for affine in draw(Warp((20, 28)), smooth(), 5):
        assert affine == pytest.approx((0.5, 0, 0, 0, 0.5, 0))
    for affine in draw(Warp((40, 56), rotate=(5, 9), p=0.0), smooth(), 5):
        assert affine == pytest.approx(IDENTITY)


def test_turns_scales_and_shifts_stay_in_their_ranges():
    transform = Warp((40, 56), rotate=(-20, 30), scale=(0.8, 1.2), shift=(-0.1, 0.1), hflip=0.25)
    angles, zooms, mirrored, shifts = [], [], 0, []
    for a, b, c, d, e, f in draw(transform, smooth(), 2000):
        flip = a * e - b * d < 0
        mirrored += flip
        a, d = (-a, -d) if flip else (a, d)
        angles.append(np.degrees(np.arctan2(-d, a)))
        zooms.append(np.hypot(a, d))
        shifts.append(
            (((-a if flip else a) * 28 + b * 20 + c) / 56 - 0.5, ((-d if flip else d) * 28 + e * 20 + f) / 40 - 0.5)
        )
    assert (min(angles), max(angles)) == (pytest.approx(-20, abs=0.2), pytest.approx(30, abs=0.2))
    assert (min(zooms), max(zooms)) == (pytest.approx(0.8, abs=0.01), pytest.approx(1.2, abs=0.01))
    assert 0.2 < mirrored / 2000 < 0.3
    assert np.abs(np.array(shifts)).max() == pytest.approx(0.1, abs=0.002)


def test_each_draw_moves_other_pixels_and_none_moves_them_without_a_range():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 1), np.uint8)
    moving = Warp((40, 40), elastic=(0.02, 0.05))
    first, second = (moving.apply(image, **moving.draw(image.shape)) for _ in range(2))
    assert (first != second).mean() > 0.5
    assert "elastic" not in Warp((40, 40), rotate=(-5, 5)).draw(image.shape)
