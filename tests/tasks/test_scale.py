"""Scales of numbers: round trips, agreement with numpy and scikit-learn, storage in a file."""

import json

import numpy as np
import pytest
from scipy.special import logit
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from imettk.errors import DataError
from imettk.tasks.scale import Scale


def numbers(seed=0):
    rng = np.random.default_rng(seed)
    return (rng.gamma(2, 3, (200, 3)) * [1, 100, 1e-3]).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("standard", lambda x: StandardScaler().fit_transform(x.astype(np.float64))),
        ("log", lambda x: StandardScaler().fit_transform(np.log1p(x.astype(np.float64)))),
        ("range", lambda x: MinMaxScaler().fit_transform(x.astype(np.float64))),
    ],
)
def test_it_is_scikit_learns_and_goes_back(kind, expected):
    targets = numbers()
    scale = Scale.fit(targets, kind)
    scaled = scale.forward(targets)
    assert scaled.dtype == np.float32 and scaled == pytest.approx(expected(targets), abs=1e-5)
    outputs = logit(scaled[1:-1].clip(1e-6, 1 - 1e-6)) if kind == "range" else scaled[1:-1]
    assert scale.inverse(outputs) == pytest.approx(targets[1:-1], rel=2e-3, abs=1e-4)
    assert Scale.from_values(json.loads(json.dumps(scale.to_values()))) == scale


def test_a_constant_column_is_left_at_its_number():
    targets = np.full((5, 1), 3, np.float32)
    for kind in ("standard", "log", "range"):
        scale = Scale.fit(targets, kind)
        assert scale.forward(targets).tolist() == [[0]] * 5
    assert Scale.fit(targets, "standard").inverse(np.zeros((2, 5, 1))).tolist() == [[[3]] * 5] * 2


def test_numbers_and_outputs_beyond_what_was_seen_are_finite():
    scale = Scale.fit(np.float32([[0], [10]]), "range")
    assert scale.forward(np.float32([[-5], [20]])).tolist() == [[0], [1]]
    assert scale.inverse(np.array([[-1e4], [1e4]])).tolist() == [[0], [10]]
    log = Scale.fit(np.float32([[0], [10]]), "log")
    assert np.isfinite(log.forward(np.float32([[-3]]))).all() and np.isfinite(log.inverse(np.array([[1e6]]))).all()


def test_the_log_of_minus_one_and_less_is_refused():
    with pytest.raises(DataError, match="needs numbers above -1, got -2"):
        Scale.fit(np.float32([[3], [-2]]), "log")


@pytest.mark.parametrize("kind", ["standard", "log", "range"])
def test_unknown_numbers_stay_so_and_the_first_targets_can_stand_alone(kind):
    numbers = np.random.default_rng(0).gamma(2, 5, (40, 2)).astype(np.float32)
    alone = Scale.fit(numbers[:30], kind)
    partly_known = np.full((40, 3), np.nan, np.float32)
    partly_known[:, 0], partly_known[:30, 1] = numbers[:, 0], numbers[:30, 1]
    scale = Scale.fit(partly_known, kind)
    assert scale.shift[1] == pytest.approx(alone.shift[1]) and scale.spread[1] == pytest.approx(alone.spread[1])
    scaled = scale.forward(partly_known)
    assert (np.isnan(scaled) == np.isnan(partly_known)).all() and scale.spread[2] == 1
    np.testing.assert_array_equal(scale.forward(partly_known[:, :1]), scaled[:, :1])
    np.testing.assert_array_equal(scale.inverse(scaled[:, :1]), scale.inverse(scaled)[:, :1])
