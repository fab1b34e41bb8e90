"""Pools of a unit's images equal plain loops over them."""

import numpy as np
import pytest

from imettk.config.choices import UNIT_POOLS
from imettk.postprocess.unit_pools import Members, pool_units

PLAIN = {
    "mean": lambda own, k: own.mean(0),
    "max": lambda own, k: own.max(0),
    "top_k": lambda own, k: np.sort(own, axis=0)[::-1][:k].mean(0),
    "noisy_or": lambda own, k: 1 - np.prod(1 - own, axis=0),
}


def made(outputs, seed=0, units=40):
    rng = np.random.default_rng(seed)
    unit = rng.permutation(np.repeat(np.arange(units), rng.integers(1, 6, units)))
    return rng.uniform(size=(len(unit), outputs)).astype(np.float32), unit


def test_every_pool_has_a_plain_loop_here():
    assert set(PLAIN) == set(UNIT_POOLS)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("name", PLAIN)
def test_pools_equal_plain_loops(name, k):
    probs, unit = made(outputs=3)
    pooled = pool_units(probs, Members(unit), UNIT_POOLS[name].load(), size=k)
    expected = [PLAIN[name](probs[unit == number].astype(np.float64), k) for number in range(40)]
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)


@pytest.mark.parametrize("name", PLAIN)
def test_shares_of_one_whole_stay_such(name):
    probs, unit = made(outputs=4)
    probs /= probs.sum(1, keepdims=True)
    pool = UNIT_POOLS[name].load()
    pooled = pool_units(probs, Members(unit), pool, size=2, parts=(probs.shape[1],))
    bare = np.array([PLAIN[name](probs[unit == number].astype(np.float64), 2) for number in range(40)])
    np.testing.assert_allclose(pooled, bare / bare.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("name", PLAIN)
def test_of_two_classes_the_positive_one_is_pooled(name, positive):
    probs, unit = made(outputs=2)
    probs[:, 1 - positive] = 1 - probs[:, positive]
    pooled = pool_units(probs, Members(unit), UNIT_POOLS[name].load(), size=2, parts=(2,), positive=positive)
    expected = [PLAIN[name](probs[unit == number, positive].astype(np.float64), 2) for number in range(40)]
    np.testing.assert_allclose(pooled[:, positive], expected, rtol=1e-6)
    np.testing.assert_allclose(pooled.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", PLAIN)
def test_units_of_one_image_and_empty_sets_stay_as_they_are(name):
    probs, _ = made(outputs=3)
    pool = UNIT_POOLS[name].load()
    np.testing.assert_allclose(pool_units(probs, Members(np.arange(len(probs))), pool, size=2), probs, rtol=1e-6)
    assert pool_units(probs[:0], Members(np.arange(0)), pool, size=2).shape == (0, 3)
