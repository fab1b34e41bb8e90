"""Each view is the numpy operation of its name; zooms are those of Pillow."""

from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from imettk.inference.tta import VIEWS, apply_view
from imettk.plans import View

NUMPY = {
    "plain": lambda images: images,
    "hflip": lambda images: images[:, :, ::-1],
    "vflip": lambda images: images[:, ::-1],
    "rot90": lambda images: np.rot90(images, 1, (1, 2)),
    "rot180": lambda images: np.rot90(images, 2, (1, 2)),
    "rot270": lambda images: np.rot90(images, 3, (1, 2)),
    "transpose": lambda images: images.swapaxes(1, 2),
}
INVERSE = {"rot90": "rot270", "rot270": "rot90"}  # the others undo themselves


def pixels(height=32, width=48, channels=3):
    return np.random.default_rng(0).integers(0, 256, (2, height, width, channels), np.uint8)


def view_of(images, view):
    return apply_view(torch.from_numpy(images), view).numpy()


def test_the_recipe_knows_exactly_these_views():
    assert set(get_args(View)) == set(VIEWS) == {*NUMPY, "zoom_in", "zoom_out"}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", NUMPY)
def test_turns_and_flips_equal_numpy(view, channels):
    result = view_of(pixels(channels=channels), view)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, NUMPY[view](pixels(channels=channels)))


@pytest.mark.parametrize("view", NUMPY)
def test_the_inverse_gives_the_pixels_back(view):
    once = apply_view(torch.from_numpy(pixels()), view)
    np.testing.assert_array_equal(apply_view(once, INVERSE.get(view, view)).numpy(), pixels())


def resize(image, height, width):
    """One channel after the other with Pillow, in floating point."""
    channels = [Image.fromarray(image[:, :, channel].astype(np.float32)) for channel in range(image.shape[2])]
    return np.stack([np.asarray(one.resize((width, height), Image.Resampling.BILINEAR)) for one in channels], 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", ["zoom_in", "zoom_out"])
def test_zooms_equal_a_crop_or_pad_resized_with_pillow(view, channels):
    images = pixels(channels=channels)
    result = view_of(images, view)
    assert result.shape == images.shape
    for ours, image in zip(result, images, strict=True):
        # A sixteenth of 32 x 48 pixels at each edge.
        edges = image[2:-2, 3:-3] if view == "zoom_in" else np.pad(image, ((2, 2), (3, 3), (0, 0)), "edge")
        np.testing.assert_allclose(ours, resize(edges, 32, 48), atol=0.01)


@pytest.mark.parametrize("view", VIEWS)
def test_pixels_stay_pixels(view):
    result = view_of(np.full((1, 9, 9, 3), 200, np.uint8), view)
    np.testing.assert_allclose(result, 200, atol=1e-3)
