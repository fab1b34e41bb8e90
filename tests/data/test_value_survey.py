"""Numbers in image files are sampled faithfully; percentiles are NumPy's, and oddities are one line."""

import cv2
import numpy as np
import pytest

from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.data.value_survey import describe_levels, measure_values
from imettk.errors import DataError


def write(folder, dtype, number, limit):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, limit, (9, 7), dtype) for _ in range(number)]
    paths = [str(folder / f"{row}.png") for row in range(number)]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(path, image)
    return paths, np.stack(images)


@pytest.mark.parametrize(("dtype", "limit"), [(np.uint8, 90), (np.uint16, 3000)])
def test_percentiles_are_those_of_all_numbers_in_the_files(tmp_path, dtype, limit):
    paths, images = write(tmp_path, dtype, 5, limit)
    survey = measure_values(paths, ImageReader(size=(8, 8), channels=1, white=ValueRange(3, 40)))
    assert survey.num_images == 5
    assert survey.range_between(2, 97.5) == tuple(np.percentile(images, (2, 97.5)))


def test_files_that_cannot_be_read_are_passed_over(tmp_path):
    paths, images = write(tmp_path, np.uint16, 3, 500)
    (tmp_path / "1.png").write_bytes(b"no picture")
    survey = measure_values(paths, ImageReader(size=(8, 8)))
    np.testing.assert_array_equal(survey.numbers, np.sort(images[[0, 2]].ravel()))
    with pytest.raises(DataError, match=r"none of 1 images has readable values: .*1.png"):
        measure_values(paths[1:2], ImageReader(size=(8, 8)))


def test_percentiles_at_one_value_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((9, 7), 7, np.uint16))
    survey = measure_values([str(tmp_path / "a.png")], ImageReader(size=(8, 8)))
    with pytest.raises(DataError, match=r"`images.white`: the values at 1% and 99% are both 7"):
        survey.range_between(1, 99)


def test_images_that_show_nothing_are_told():
    levels = np.zeros((3, 256), np.int64)
    levels[:, :20] = 100
    assert describe_levels(levels, deep=True) == []
    (line,) = describe_levels(levels, deep=False)
    assert "nearly black: 99.9% of their values lie at or below 19 of 255" in line
    assert "--images.white 19" in line
    levels[:, 255] = 30_000
    (line,) = describe_levels(levels, deep=False)
    assert line.startswith("94% of all values are white (255)")
    assert describe_levels(np.ones((1, 256), np.int64), deep=False) == []
    assert describe_levels(np.zeros((1, 256), np.int64), deep=False) == []


def test_large_images_are_sampled_in_all_channels_and_rows(tmp_path):
    """A fixed step would take the numbers of one channel, or of a few columns."""
    array = np.zeros((256, 256, 4), np.uint16)
    array[:] = np.arange(1, 5) * 1000
    array[::2] //= 2
    np.save(tmp_path / "a.npy", array)
    survey = measure_values([str(tmp_path / "a.npy")], ImageReader(size=(8, 8), channels=4))
    assert survey.range_between(1, 99.5) == (500, 4000)


def test_alpha_is_no_brightness(tmp_path):
    values = np.full((9, 7, 4), 700, np.uint16)
    values[:, :, 3], values[0] = 65535, 90
    cv2.imwrite(str(tmp_path / "a.png"), values)
    assert measure_values([str(tmp_path / "a.png")], ImageReader(size=(8, 8))).numbers.max() == 700
