"""Labels keep their shares within one row of the wanted count, by a plain sort of each column."""

from itertools import pairwise

import numpy as np
import pytest
from threshold_tables import chexnet

from imettk.postprocess.ratio import drift, sensitivity, share_thresholds
from imettk.postprocess.thresholds import curves
from imettk.postprocess.thresholds.curves import find_top


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_are_those_that_are_wanted(guess_from, dtype):
    rng = np.random.default_rng(0)
    probs = (rng.random((203, 9)) ** 4).astype(dtype)
    shares = np.array([0, 1, 0.5, 0.001, 0.004, 0.9999, 1 / 203, 0.25, 0.123])
    thresholds = share_thresholds(probs, shares)
    counts = (probs >= thresholds.astype(dtype)).sum(0)
    np.testing.assert_array_equal(counts, np.floor(shares * 203 + 0.5))
    for label in np.flatnonzero((counts > 0) & (counts < 203)):
        falling = np.sort(probs[:, label])[::-1]
        below, above = falling[counts[label]], falling[counts[label] - 1]
        assert below < thresholds[label] <= above
        assert thresholds[label] == pytest.approx((float(below) + float(above)) / 2, rel=1e-5)


def test_of_equal_probabilities_all_or_none_are_taken_whichever_is_nearer(guess_from):
    for seed in range(200):
        rng = np.random.default_rng(seed)
        probs = np.round(rng.random((30, 3)), 1).astype(np.float32)
        shares = rng.random(3)
        wanted = np.floor(shares * 30 + 0.5)
        counts = (probs >= share_thresholds(probs, shares).astype(np.float32)).sum(0)
        for label in range(3):
            possible = [(probs[:, label] >= value).sum() for value in [*np.unique(probs[:, label]), 2]]
            assert abs(counts[label] - wanted[label]) == min(abs(count - wanted[label]) for count in possible)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_level_that_was_guessed_too_high_is_lowered_until_enough_lies_above(monkeypatch, dtype):
    """The sampled rows have high probabilities, all others low ones, down to 0."""
    monkeypatch.setattr(curves, "SAMPLE_ROWS", 40)
    probs = (np.random.default_rng(0).random((400, 4)) * [0.3, 0.01, 1e-5, 1e-9]).astype(dtype)
    probs[::10] = 0.9 + np.random.default_rng(1).random((40, 4)) / 10
    probs[7, 3] = 0
    guesses, find = [], curves.pairs_between
    monkeypatch.setattr(curves, "pairs_between", lambda *args: guesses.append(args[1].copy()) or find(*args))
    top = find_top(probs, np.arange(4), np.array([100, 200, 60, 200]))
    assert 2 < len(guesses) < 20 and np.isinf(guesses[-1][3]) and all((a >= b).all() for a, b in pairwise(guesses))
    assert (top.counts >= [100, 200, 60, 200]).all()
    both = find_top(probs, np.array([0, 0, 1, 1]), np.array([600, 100]))  # more than there are rows
    assert (both.counts >= [600, 100]).all()
    for points, groups in ((top, np.arange(4)), (both, np.array([0, 0, 1, 1]))):
        for group in range(groups.max() + 1):
            falling = np.sort(probs[:, groups == group], axis=None)[::-1]
            mine = points.values[points.group == group]
            np.testing.assert_array_equal(mine, falling[: points.counts[group]])
    for count in (1, 39, 40, 41, 200, 399, 400):
        thresholds = share_thresholds(probs, np.full(4, count / 400))
        np.testing.assert_array_equal((probs >= thresholds.astype(dtype)).sum(0), count)


def test_the_middle_is_that_to_the_next_lower_probability_even_where_just_enough_was_found(monkeypatch):
    """The first guess includes exactly the wanted number of pairs."""
    monkeypatch.setattr(curves, "_guess_levels", lambda probs, groups, enough: np.array([0.5]))
    probs = np.array([[0.9], [0.1], [0.7], [0.3]], np.float32)
    assert share_thresholds(probs, np.array([0.5])) == pytest.approx([0.5])
    assert share_thresholds(probs[:, [0]] * 0.5 + 0.5, np.array([0.5])) == pytest.approx([0.75])


def test_drift_is_how_many_rows_too_many():
    chosen = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1]], bool)
    assert drift(chosen, np.array([0.5, 0.2, 0.4])).tolist() == [1, -1, 0]  # 2.5 rows are 3
    filled = np.full((7, 1), True)
    assert drift(filled, np.array([0.0])).tolist() == [7]


def test_one_probability_for_all_rows_takes_all_or_none():
    for dtype in (np.float32, np.float64):
        for value in (0.0, 0.3, 1.0):
            probs = np.full((10, 6), value, dtype)
            thresholds = share_thresholds(probs, np.array([0.0, 0.04, 0.4, 0.6, 0.96, 1.0]))
            assert (probs >= thresholds.astype(dtype)).sum(0).tolist() == [0, 0, 0, 10, 10, 10]


def test_shares_do_not_depend_on_how_probabilities_lie_in_memory():
    rng = np.random.default_rng(0)
    probs, shares = rng.random((30, 4)).astype(np.float32), rng.random(4)
    spread = np.zeros((60, 8), np.float32)
    spread[::2, ::2] = probs
    for same in (np.asfortranarray(probs), spread[::2, ::2]):
        np.testing.assert_array_equal(share_thresholds(same, shares), share_thresholds(probs, shares))


def test_real_predictions_keep_the_shares_of_the_truth():
    probs, targets, _ = chexnet()
    chosen = probs >= share_thresholds(probs, targets.mean(0)).astype(np.float32)
    assert np.abs(drift(chosen, targets.mean(0))).max() <= 1
    assert np.abs(chosen.sum(0) - targets.sum(0)).max() <= 1


def test_a_shake_up_is_the_score_with_other_counts():
    rng = np.random.default_rng(0)
    probs, shares = rng.random((50, 3)).astype(np.float32), np.array([0.1, 0.5, 0.02])

    def apply(rows, wanted):
        return rows >= share_thresholds(rows, wanted).astype(np.float32)

    table = sensitivity(probs, shares, lambda chosen: float(chosen[:, 2].sum()), apply, labels=np.array([2, 0]), most=3)
    assert table.tolist() == [[0, 0, 0, 1, 2, 3, 4], [1.0] * 7]
