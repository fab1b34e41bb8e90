"""Mosaics against a plain loop over samples and quarters."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from imettk.training.mosaic import make_mosaics


def images_of(count, size=(12, 17)):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(count)) * 255


@pytest.mark.parametrize("size", [(12, 17), (8, 8), (30, 9)])
def test_each_quarter_is_the_scaled_centre_of_another_image(size):
    pixels, (height, width) = images_of(5, size), size
    for seed in range(10):
        mosaics, parts = make_mosaics(pixels, np.random.default_rng(seed))
        generator = np.random.default_rng(seed)
        top, left = round(height * generator.uniform(0.3, 0.7)), round(width * generator.uniform(0.3, 0.7))
        circle = generator.permutation(5).tolist()
        for row in range(5):
            expected, areas = torch.zeros(3, height, width), torch.zeros(5)
            for number in range(4):
                rows = slice(0, top) if number < 2 else slice(top, height)
                columns = slice(0, left) if number % 2 == 0 else slice(left, width)
                high, wide = rows.stop - rows.start, columns.stop - columns.start
                shown = circle[(circle.index(row) + number) % 5]
                larger = max(high / height, wide / width)
                scaled = max(high, round(height * larger)), max(wide, round(width * larger))
                image = functional.interpolate(pixels[shown][None], scaled, mode="bilinear", antialias=True)[0]
                first, second = (scaled[0] - high) // 2, (scaled[1] - wide) // 2
                expected[:, rows, columns] = image[:, first : first + high, second : second + wide]
                areas[shown] += high * wide / (height * width)
            torch.testing.assert_close(mosaics[row], expected)
            torch.testing.assert_close(parts[row], areas)
            assert parts[row, row] > 0 and (parts[row] > 0).sum() == 4
        torch.testing.assert_close(parts.sum(1), torch.ones(5))


@pytest.mark.parametrize("count", [2, 3])
def test_of_few_images_each_mosaic_holds_all(count):
    _, parts = make_mosaics(images_of(count), np.random.default_rng(0))
    assert (parts > 0).all()
    torch.testing.assert_close(parts.sum(1), torch.ones(count))
