"""The operations against Pillow's, which the papers' code uses, channel by channel; and geometry by its map."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from imettk.data.image_ops import MOST_CHANGE, MOST_SHIFT, OPERATIONS

IMAGES = {
    channels: np.clip(np.random.default_rng(channels).normal(120, 35, (20, 30, channels)), 0, 255).astype(np.uint8)
    for channels in (1, 3, 4)
}
STRENGTHS = (0.2, 0.5, 1.0)


def by_channel(function, image):
    parts = [np.asarray(function(Image.fromarray(image[:, :, place]))) for place in range(image.shape[2])]
    return np.stack(parts, axis=2)


@pytest.mark.parametrize("channels", IMAGES)
def test_without_strength_nothing_changes_but_for_two(channels):
    for name, operation in OPERATIONS.items():
        if name not in ("auto_contrast", "equalize") and not (operation.coloured and channels != 3):
            np.testing.assert_array_equal(operation.apply(IMAGES[channels], 0.0), IMAGES[channels], err_msg=name)


@pytest.mark.parametrize("channels", IMAGES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_form_stays_at_any_strength(name, channels):
    operation = OPERATIONS[name]
    if operation.coloured and channels != 3:
        return
    for strength in (-1.0, -0.3, 0.3, 1.0) if operation.signed else STRENGTHS:
        result = operation.apply(IMAGES[channels], strength)
        assert result.shape == IMAGES[channels].shape and result.dtype == np.uint8


@pytest.mark.parametrize("channels", IMAGES)
@pytest.mark.parametrize("strength", STRENGTHS)
def test_values_change_as_in_pillow(channels, strength):
    image, bits = IMAGES[channels], 8 - round(4 * strength)
    pillow = {
        "auto_contrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "solarize": lambda part: ImageOps.solarize(part, 256 - int(256 * strength)),
        "posterize": lambda part: ImageOps.posterize(part, bits),
    }
    for name, function in pillow.items():
        ours = OPERATIONS[name].apply(image, strength)
        np.testing.assert_array_equal(ours, by_channel(function, image), err_msg=name)


def test_one_value_has_no_contrast_to_stretch():
    for name in ("auto_contrast", "equalize"):
        image = np.full((4, 5, 3), 77, np.uint8)
        np.testing.assert_array_equal(OPERATIONS[name].apply(image, 1.0), image)


@pytest.mark.parametrize("strength", [-1.0, -0.4, 0.4, 1.0])
def test_colours_are_enhanced_as_in_pillow(strength):
    enhancers = {"colour": "Color", "contrast": "Contrast", "brightness": "Brightness", "sharpness": "Sharpness"}
    for name, pillow in enhancers.items():
        enhancer = getattr(ImageEnhance, pillow)(Image.fromarray(IMAGES[3]))
        expected = np.asarray(enhancer.enhance(1 + MOST_CHANGE * strength)).astype(int)
        ours = OPERATIONS[name].apply(IMAGES[3], strength).astype(int)
        if name == "sharpness":  # Pillow leaves the outermost pixels as they are
            ours, expected = ours[1:-1, 1:-1], expected[1:-1, 1:-1]
        assert np.abs(ours - expected).max() <= 2, name  # Pillow truncates, twice


@pytest.mark.parametrize("channels", IMAGES)
def test_a_translation_by_whole_pixels_moves_and_mirrors(channels):
    image = IMAGES[channels]
    ours = OPERATIONS["translate_x"].apply(image, 3 / (MOST_SHIFT * 30))
    np.testing.assert_array_equal(ours, np.pad(image, ((0, 0), (3, 0), (0, 0)), mode="reflect")[:, :30])
    ours = OPERATIONS["translate_y"].apply(image, -2 / (MOST_SHIFT * 20))
    np.testing.assert_array_equal(ours, np.pad(image, ((0, 2), (0, 0), (0, 0)), mode="reflect")[2:])


def test_rotations_and_shears_map_places_as_their_formulas_say():
    """On the image of a ramp, whose values are places."""
    rows, columns = np.mgrid[0:40, 0:40]
    across, down = (4 * part[:, :, None].astype(np.uint8) for part in (columns, rows))
    y, x = (part + 0.5 - 20 for part in (rows, columns))
    middle = slice(14, 26)
    angle = np.radians(30 * 0.5)
    read = {
        "shear_x": (across, x - 0.3 * 0.5 * y),
        "shear_y": (down, y - 0.3 * 0.5 * x),
        "rotate": (across, np.cos(angle) * x - np.sin(angle) * y),
    }
    for name, (image, place) in read.items():
        ours = OPERATIONS[name].apply(image, 0.5)[middle, middle, 0].astype(float)
        assert np.abs(ours - 4 * (place[middle, middle] + 20 - 0.5)).max() <= 1, name
