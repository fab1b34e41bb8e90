"""One pass over all images finds the bad ones, their statistics and the size of a cache."""

import numpy as np
import pytest
from cached_images import COUNT, build, make_table

from imettk.data.reader import ImageReader
from imettk.data.source import ImageSource, image_names
from imettk.data.stamps import stamp_files
from imettk.data.survey import estimate_bytes, survey_images
from imettk.errors import DataError


def test_bad_images_are_found_kept_and_raised_again(tmp_path, small_parts):
    table = make_table(tmp_path)
    (tmp_path / "train" / "6.png").write_bytes(b"no image")
    _, cached, _, survey = build(tmp_path, table, "pixels")
    assert list(survey.bad) == [6] and "6.png" in survey.bad[6]
    with pytest.raises(DataError, match=r"6\.png"):
        cached.read(6)
    assert build(tmp_path, table, "pixels")[3].bad == survey.bad, "also when all parts are there already"


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_numpys_over_all_pixels_but_bad_ones(tmp_path, small_parts, channels):
    table = make_table(tmp_path)
    (tmp_path / "train" / "6.png").write_bytes(b"")
    files, _, _, survey = build(tmp_path, table, "pixels", channels=channels)
    pixels = np.stack([files.read(row) for row in range(COUNT) if row != 6]) / 255
    np.testing.assert_allclose(survey.mean, pixels.mean((0, 1, 2)))
    np.testing.assert_allclose(survey.std, pixels.std((0, 1, 2)))
    stamps = stamp_files(table.paths, ())
    again = survey_images(files.read, image_names(table, tmp_path), stamps, (24, 32, channels))
    np.testing.assert_array_equal(again.histogram, survey.histogram)


def test_the_estimate_is_exact_for_pixels_and_near_for_jpegs(tmp_path, small_parts):
    table = make_table(tmp_path)
    for kind, tolerance in (("pixels", 0), ("jpeg", 0.2)):
        build(tmp_path, table, kind)
        size = sum(path.stat().st_size for path in (tmp_path / "cache").glob("part-*"))
        source = ImageSource(table, ImageReader(size=(24, 32)))
        expected = estimate_bytes(source.read, COUNT, (24, 32, 3), kind, 95)
        assert abs(expected - size) <= tolerance * size + 5 * 9000  # five headers, with their histograms
