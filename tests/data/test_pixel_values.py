"""Numbers of any type become 8 bits by plain arithmetic; channels fit or are refused."""

import numpy as np
import pytest

from imettk.data.file_facts import FileFacts
from imettk.data.pixel_values import PixelValues, ValueRange, fit_channels, to_pixels


def plain(numbers, black, white):
    return np.rint(np.clip((numbers.astype(np.float64) - black) / (white - black), 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i2", "i4", "u4", "f4", "f8", "f2"])
@pytest.mark.parametrize(("black", "white"), [(0, 200), (-40, 90), (13, 101.5)])
def test_values_are_scaled_as_plain_arithmetic_says(dtype, black, white):
    numbers = np.random.default_rng(0).integers(0 if "u" in dtype else -100, 250, (7, 5)).astype(dtype)
    pixels = to_pixels(PixelValues(numbers), 1, ValueRange(black, white))
    off = np.abs(pixels[:, :, 0].astype(int) - plain(numbers, black, white))
    assert off.max() <= (dtype == "f2" or (black, white) == (13, 101.5))  # a half may fall either way
    assert (off == 0).mean() > 0.9


def test_what_the_file_says_counts_where_nothing_is_wanted():
    numbers = np.array([[0, 50, 100]], np.int16)
    assert to_pixels(PixelValues(numbers, 0, 100), 1, None).ravel().tolist() == [0, 128, 255]
    assert to_pixels(PixelValues(numbers, 0, 100, inverted=True), 1, None).ravel().tolist() == [255, 127, 0]
    assert to_pixels(PixelValues(numbers.astype(np.uint16) * 655), 1, None).ravel().tolist() == [0, 127, 255]
    assert to_pixels(PixelValues(numbers > 60), 1, None).ravel().tolist() == [0, 0, 255]
    with pytest.raises(ValueError, match=r"its values are int16, so its white value is unknown: set `images.white`"):
        to_pixels(PixelValues(numbers), 1, None)
    with pytest.raises(ValueError, match="NaN or infinite"):
        to_pixels(PixelValues(np.array([[0.5, np.nan]])), 1, ValueRange(0, 1))
    with pytest.raises(ValueError, match="no pixels"):
        to_pixels(PixelValues(np.zeros((0, 3), np.uint8)), 1, None)


def test_facts_are_told_of_deep_values_alone():
    facts = FileFacts()
    to_pixels(PixelValues(np.full((2, 2), 9, np.uint8)), 1, None, facts=facts)
    assert facts.images == 0
    to_pixels(PixelValues(np.full((2, 2), 9, np.uint16)), 1, ValueRange(0, 90), facts=facts)
    assert (facts.images, facts.brightest, facts.share) == (1, 9, 0.1)


def test_channels_are_made_to_fit():
    grey, colour = (
        np.full((2, 2, 1), 7, np.uint8),
        np.dstack([np.full((2, 2), value, np.uint8) for value in (9, 90, 9)]),
    )
    assert fit_channels(grey, 3).tolist() == np.full((2, 2, 3), 7).tolist()
    assert fit_channels(colour, 1)[0, 0, 0] == round(0.299 * 9 + 0.587 * 90 + 0.114 * 9)
    with pytest.raises(ValueError, match=r"it has 3 channels, but `images.channels` is 5"):
        fit_channels(colour, 5)


def test_a_range_from_0_is_written_as_before():
    assert ValueRange(0, 4095.0).setting() == 4095
    assert ValueRange(-160, 240).setting() == [-160, 240]
