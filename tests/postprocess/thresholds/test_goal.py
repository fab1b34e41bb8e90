"""A goal scores limited answers as scikit-learn does, and its best change equals that of brute force."""

import numpy as np
import pytest
from sklearn.metrics import fbeta_score
from threshold_tables import AVERAGES, LIMITS, candidates, limited_by_hand, make

from imettk.postprocess.thresholds.goal import Goal, best_change
from imettk.postprocess.thresholds.sweep import Counts


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(("low", "high"), LIMITS)
def test_the_score_of_limited_answers_is_that_of_scikit_learn(average, low, high):
    for seed in range(10):
        probs, targets = make(seed)
        goal = Goal((0.5, 1.0, 2.0)[seed % 3], average, low, high)
        answers = goal.limit(probs >= 0.3, probs)
        np.testing.assert_array_equal(answers, limited_by_hand(probs >= 0.3, probs, low, high))
        theirs = fbeta_score(targets, answers, beta=goal.beta, average=average, zero_division=0)
        assert goal.score(answers, targets) == pytest.approx(theirs)


@pytest.mark.parametrize("average", AVERAGES)
def test_the_best_change_is_that_of_every_threshold_in_turn(average):
    """Lowering a threshold removes some of the rows' labels and adds others."""
    for seed in range(40):
        values, targets = make(seed, num_samples=5, decimals=1 + seed % 2)
        goal = Goal(2.0, average)
        taken = np.random.default_rng(seed).random(values.shape) < 0.4
        pairs = np.argsort(-values.ravel(), kind="stable")
        added = np.where(taken.ravel()[pairs], -1, 1)
        scores = [goal.score(taken ^ (values >= threshold), targets) for threshold in candidates(values)]
        units = {"samples": 1, "macro": 0, "micro": None}[average]
        hits, chosen, true = (np.atleast_1d(part.sum(units)) for part in (taken & (targets > 0), taken, targets > 0))
        best = best_change(pairs, added, values.ravel()[pairs], Counts(hits, chosen, true), targets, goal)
        assert best.score == pytest.approx(max(scores), abs=1e-9)
        moved = taken ^ (values >= np.float32(best.threshold))
        assert goal.score(moved, targets) == pytest.approx(best.score, abs=1e-9)


def test_without_a_change_the_score_stays():
    start = Counts(np.array([1]), np.array([1]), np.array([1]))
    nothing = np.zeros(0, np.int64)
    best = best_change(nothing, nothing, np.zeros(0), start, np.array([[1]], np.uint8), Goal(2.0))
    assert best.score == 1 and best.threshold > 1
