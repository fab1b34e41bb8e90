"""Divergence as in Kaggle's code, log loss as scikit-learn's of weighted rows, bootstraps, best constants."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import log_loss

from imettk.metrics import METRICS

NAMES = ("kl_divergence", "log_loss")


def tables(seed, num_rows=30, num_labels=4):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, (num_rows, num_labels)) + np.eye(num_labels)[rng.integers(0, num_labels, num_rows)]
    probs = rng.dirichlet(np.full(num_labels, 0.3), num_rows)
    probs[0] = np.eye(num_labels)[0]  # of a label that has hardly all votes
    return probs.astype(np.float32), (counts / counts.sum(1, keepdims=True)).astype(np.float32)


def by_hand(name, probs, shares, eps):
    """Return the divergence row by row; `kaggle_kl_div.py` of HMS 2024 computes it column by column."""
    total = 0.0
    for row, truth in zip(probs.tolist(), shares.tolist(), strict=True):
        for prob, share in zip(row, truth, strict=True):
            if share > 0:
                kept = min(max(prob, eps), 1 - eps)
                total += share * (math.log(share / kept) if name == "kl_divergence" else -math.log(kept))
    return total / len(probs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_a_score_is_a_loop_over_rows_and_votes(name, seed):
    probs, shares = tables(seed)
    for params in ({}, {"eps": 0.01}):
        scorer = METRICS[name].bound("votes", params)
        expected = by_hand(name, probs, shares, scorer.params["eps"])
        assert scorer.score(probs, shares) == pytest.approx(expected, rel=1e-9) and not scorer.higher
    assert METRICS["kl_divergence"].params["eps"] == 1e-15


def test_log_loss_is_scikit_learns_where_each_vote_is_a_row_of_its_weight():
    probs, shares = tables(7)
    labels = np.tile(np.arange(4), len(probs))
    probs = np.clip(probs.astype(np.float64), 0.001, 1)
    probs /= probs.sum(1, keepdims=True)
    expected = log_loss(labels, probs.repeat(4, 0), sample_weight=shares.ravel())
    assert METRICS["log_loss"].bound("votes").score(probs, shares) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_bootstrap_sample_scores_as_its_rows_do(name):
    probs, shares = tables(1)
    scorer, rng = METRICS[name].bound("votes"), np.random.default_rng(0)
    score_of = scorer.resampled(probs, shares)
    for size in (1, 30, 77):
        rows = rng.integers(0, 30, size)
        assert score_of(rows) == pytest.approx(scorer.score(probs[rows], shares[rows]), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_no_constant_is_better_than_the_mean_shares(name):
    _, shares = tables(2)
    scorer = METRICS[name].bound("votes")

    def score(logits):
        probs = np.exp(logits) / np.exp(logits).sum()
        return scorer.score(np.broadcast_to(probs, shares.shape), shares)

    assert scorer.best_constant(shares) == pytest.approx(minimize(score, np.zeros(4)).fun, abs=1e-6)
