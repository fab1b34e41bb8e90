"""Blends are plain means, products, ranks and maxima; fitted weights find the better member."""

import numpy as np
import pytest
from scipy.stats import rankdata

from imettk.postprocess.blend import blend, fit_weights, rank_shares

MEMBERS = [np.random.default_rng(seed).random((12, 4)).astype(np.float32) for seed in range(3)]
PLAIN = {
    "mean": lambda members, weights: sum(w * m for m, w in zip(members, weights, strict=True)),
    "geometric": lambda members, weights: np.prod([m**w for m, w in zip(members, weights, strict=True)], axis=0),
    "max": lambda members, weights: np.max([m for m, w in zip(members, weights, strict=True) if w], axis=0),
}


@pytest.mark.parametrize("method", PLAIN)
@pytest.mark.parametrize("weights", [None, (1, 2, 5), (0, 3, 1)])
def test_a_blend_is_what_its_name_says(method, weights):
    shares = np.array(weights or (1, 1, 1)) / sum(weights or (1, 1, 1))
    ours = blend(MEMBERS, method, weights)
    np.testing.assert_allclose(ours, PLAIN[method](MEMBERS, shares), rtol=1e-5)
    assert ours.dtype == np.float32


@pytest.mark.parametrize("method", ["mean", "geometric", "rank", "max"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_blend_by_plain_loops_leaves_its_members_as_they_are(method, dtype):
    rng = np.random.default_rng(5)
    members = [rng.random((6, 3)).astype(dtype) for _ in range(4)]
    members = [rank_shares(probs) for probs in members] if method == "rank" else members
    kept = [probs.copy() for probs in members]
    for weights in ([0.0, 1.0, 0.0, 0.0], [0.1, 0.0, 2.0, 0.4], np.array([3, 0, 1, 1]), None):
        shares = [1.0] * 4 if weights is None else list(weights)
        ours = blend(members, method, weights)
        assert ours.shape == (6, 3) and (ours.dtype == np.float32 or dtype == np.float64)
        for row, label in np.ndindex(6, 3):
            values = [(float(probs[row, label]), float(weight)) for probs, weight in zip(members, shares, strict=True)]
            if method == "max":
                expected = max(value for value, weight in values if weight > 0)
            elif method == "geometric":
                expected = np.exp(sum(weight * np.log(value) for value, weight in values) / sum(shares))
            else:
                expected = sum(weight * value for value, weight in values) / sum(shares)
            assert ours[row, label] == pytest.approx(expected, rel=2e-6)
    assert all((probs == before).all() for probs, before in zip(members, kept, strict=True))


def test_weights_for_another_number_of_members_are_refused():
    with pytest.raises(ValueError, match="zip"):
        blend(MEMBERS, "mean", (0.5, 0.5))


def test_a_probability_of_0_does_not_end_a_geometric_mean():
    assert 0 < blend([np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)], "geometric")[0, 0] < 1e-3


def test_ranks_are_scipys():
    probs = np.round(np.random.default_rng(0).random((30, 5)), 1)
    expected = (rankdata(probs, axis=None).reshape(30, 5) - 0.5) / 150
    np.testing.assert_allclose(rank_shares(probs), expected, rtol=1e-6)


def test_ranks_of_equal_probabilities_are_their_mean_and_keep_the_order():
    assert rank_shares(np.full((3, 2), 0.7, np.float32)).tolist() == [[0.5, 0.5]] * 3
    assert rank_shares(np.array([[0.2]])).tolist() == [[0.5]]
    probs = np.random.default_rng(2).random((50, 4)).astype(np.float32)
    for same in (probs, np.asfortranarray(probs), np.repeat(probs, 2, axis=1)[:, ::2]):
        ranks = rank_shares(same)
        assert ranks.dtype == np.float32 and ranks.min() > 0 and ranks.max() < 1
        np.testing.assert_array_equal(ranks, (rankdata(probs, axis=None).reshape(50, 4) - 0.5).astype(np.float32) / 200)


def test_fitted_weights_never_score_below_equal_ones_whatever_the_score():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        middle, steps = rng.dirichlet(np.ones(4)), int(rng.integers(2, 50))
        score = lambda weights, m=middle, n=steps: -float(np.round(n * np.abs(weights - m)).sum())  # noqa: E731
        weights, best = fit_weights(score, 4)
        assert weights.sum() == pytest.approx(1) and weights.min() >= 0
        assert best == score(weights) >= score(np.full(4, 0.25))


def test_fitted_weights_find_the_better_member_and_never_lose():
    truth = np.random.default_rng(9).random((40, 3))
    good, bad = truth + 0.01, np.random.default_rng(1).random((40, 3))
    tries = []
    score = lambda weights: -float(((blend([bad, good], "mean", weights) - truth) ** 2).mean())  # noqa: E731
    weights, best = fit_weights(score, 2, tell=tries.append)
    assert weights.sum() == pytest.approx(1) and weights[1] > 0.9
    assert best == pytest.approx(score(weights)) and best >= score(np.array([0.5, 0.5])) and len(tries) >= 14
    assert fit_weights(lambda weights: 1.0, 3)[0] == pytest.approx([1 / 3] * 3)
