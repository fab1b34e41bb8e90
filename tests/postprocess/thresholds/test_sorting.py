"""Orders are those of numpy's stable sort."""

import numpy as np
import pytest

from imettk.postprocess.thresholds.sorting import falling_order, rising_order


@pytest.mark.parametrize("most", [1, 5, 1 << 16, (1 << 16) + 1, 1 << 20, (1 << 32) - 1])
def test_whole_numbers_rise(most):
    for dtype in (np.int64, np.uint32):
        keys = np.random.default_rng(0).integers(0, most, 3000).astype(dtype)
        keys[[7, 70]] = most - 1
        np.testing.assert_array_equal(rising_order(keys), np.argsort(keys, kind="stable"))
    assert rising_order(keys[:0]).tolist() == []


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_fall_and_of_equal_ones_the_first_comes_first(dtype):
    rng = np.random.default_rng(0)
    for decimals in (0, 2, 9):
        for low in (0, -1):  # below 0 as well
            values = np.round(low + (1 - low) * rng.random(3000) ** 4, decimals).astype(dtype)
            np.testing.assert_array_equal(falling_order(values), np.argsort(-values, kind="stable"))
    odd = np.array([0.0, 1e-45, -0.0, np.inf, 0.0, 1.0, -0.0, 2.0]).astype(dtype)
    np.testing.assert_array_equal(falling_order(odd), np.argsort(-odd, kind="stable"))
    assert falling_order(odd[:0]).tolist() == []
