"""Noise from the bank has the statistics of freshly drawn noise."""

import random

import numpy as np
import pytest
from scipy import stats

from imettk.data.noise import Noise


def noisy(image, seed=0, std=(0.05, 0.05)):
    transform = Noise(std, p=1.0)
    transform.set_random_state(np.random.default_rng(0), random.Random(seed))
    return transform(image=image)["image"]


@pytest.mark.parametrize("shape", [(64, 48, 3), (200, 300, 1), (1100, 900, 4)])
def test_it_is_normal_without_bias_and_as_strong_as_asked(shape):
    image = np.full(shape, 128, np.uint8)
    result = noisy(image)
    assert result.shape == shape and result.dtype == np.uint8
    noise = result.astype(float) - 128
    assert abs(noise.mean()) < 0.3 and noise.std() == pytest.approx(0.05 * 255, rel=0.012)
    assert abs(stats.skew(noise.ravel())) < 0.1 and abs(stats.kurtosis(noise.ravel())) < 0.1
    neighbours = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]
    assert abs(neighbours) < 0.05


def test_draws_differ_and_values_are_cut_not_wrapped():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:20] = 255
    one, other = noisy(image, 1), noisy(image, 2)
    assert (one != other).mean() > 0.3
    assert one[:20].min() > 150 and one[20:].max() < 105
    assert np.abs(np.corrcoef(one.ravel()[:2400], other.ravel()[:2400])[0, 1]) < 0.1


def test_the_strength_is_drawn_from_its_range():
    image = np.full((60, 60, 3), 128, np.uint8)
    strengths = [noisy(image, seed, (0.02, 0.1)).std() / 255 for seed in range(100)]
    assert 0.018 < min(strengths) < 0.03 and 0.09 < max(strengths) < 0.105
