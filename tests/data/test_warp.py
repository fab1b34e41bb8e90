"""One warp equals what Pillow and numpy do step by step."""

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from imettk.data import geometry
from imettk.data.elastic import GRAIN, displacements
from imettk.data.geometry import IDENTITY, VIEW_MAPS, invert, join, rotate, scale, shear, shift
from imettk.data.warp import Warp, warp

REFLECT = cv2.BORDER_REFLECT_101


def smooth(height=40, width=56, channels=3):
    blocks = np.random.default_rng(0).integers(0, 256, (6, 8, channels), np.uint8)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


def as_matrix(affine):
    return np.array([*affine, 0, 0, 1]).reshape(3, 3)


def test_maps_are_joined_and_inverted_as_matrices():
    maps = [rotate(33), scale(1.5, -0.7), shear(12), shift(3, -4)]
    product = np.linalg.multi_dot([as_matrix(one) for one in maps])
    np.testing.assert_allclose(as_matrix(join(*maps)), product)
    np.testing.assert_allclose(as_matrix(invert(join(*maps))), np.linalg.inv(product))
    smallest = np.linalg.svd(product[:2, :2], compute_uv=False)[1]
    assert geometry.shrinking(join(*maps)) == pytest.approx(1 / smallest)


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
@pytest.mark.parametrize("border", [REFLECT, cv2.BORDER_CONSTANT])
def test_a_general_warp_equals_pillow(channels, border):
    """Where the result looks into the image; what lies beyond is compared with an image that was padded before."""
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


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_moved_pixels_are_those_that_scipy_finds(channels):
    """Inside the image: what lies beyond is a matter of the border."""
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
    across, down = np.stack([one[0] for one in drawn]), np.stack([one[1] for one in drawn])
    assert across.std() == pytest.approx(0.05 * 40, rel=0.1) and down.std() == pytest.approx(0.05 * 80, rel=0.1)
    assert np.corrcoef(across.ravel(), down.ravel())[0, 1] == pytest.approx(0, abs=0.05)
    # Neighbours move alike: the correlation of a smoothed noise at a distance x is exp(-x^2 / 4 sigma^2).
    for lag in (1, 4, 8):
        found = np.corrcoef(across[:, :, lag:].ravel(), across[:, :, :-lag].ravel())[0, 1]
        assert found == pytest.approx(np.exp(-(lag**2) / (4 * (GRAIN * 40) ** 2)), abs=0.06)


def test_each_draw_moves_other_pixels_and_none_moves_them_without_a_range():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 1), np.uint8)
    moving = Warp((40, 40), elastic=(0.02, 0.05))
    first, second = (moving.apply(image, **moving.draw(image.shape)) for _ in range(2))
    assert (first != second).mean() > 0.5
    assert "elastic" not in Warp((40, 40), rotate=(-5, 5)).draw(image.shape)
