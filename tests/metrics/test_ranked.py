"""Scores of ranked answers, by hand and by scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score

from imettk.metrics.ranked import best_constant_ranking, map_at_k, map_at_k_resampled, precision_at_k, recall_at_k


def test_map_at_k_by_hand():
    ranked = np.array([[3, 1, 2], [0, 1, 2], [5, 4, 0]])
    assert map_at_k(ranked, np.array([3, 2, 9])) == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_recall_at_k_by_hand_and_by_scikit_learn():
    ranked = np.array([[3, 1, 2], [0, 1, 2], [5, 4, 0]])
    assert recall_at_k(ranked, np.array([2, 0, 9])) == pytest.approx(2 / 3)
    scores, targets = np.random.default_rng(0).random((40, 7)), np.random.default_rng(1).integers(0, 7, 40)
    for k in (1, 3, 6):
        expected = top_k_accuracy_score(targets, scores, k=k, labels=range(7))
        assert recall_at_k(np.argsort(-scores, axis=1)[:, :k], targets) == pytest.approx(expected)


def test_map_at_all_of_a_full_ranking_is_scikit_learns_average_precision():
    scores, targets = np.random.default_rng(0).random((40, 7)), np.random.default_rng(1).integers(0, 7, 40)
    expected = label_ranking_average_precision_score(np.eye(7)[targets], scores)
    assert map_at_k(np.argsort(-scores, axis=1), targets, k=7) == pytest.approx(expected)


def test_rows_drawn_with_repeats_score_as_they_do_alone():
    rng = np.random.default_rng(0)
    ranked = np.argsort(rng.random((30, 6)), axis=1)
    targets, rows = rng.integers(0, 6, 30), rng.integers(0, 30, 50)
    assert map_at_k_resampled(ranked, targets, k=3)(rows) == pytest.approx(map_at_k(ranked[rows], targets[rows], k=3))


def test_the_best_constant_ranking_is_the_best_of_all():
    import itertools

    targets = np.array([2, 0, 2, 1, 2, 1])
    scores = [map_at_k(np.tile(order, (6, 1)), targets) for order in itertools.permutations(range(3), 2)]
    assert best_constant_ranking(targets, k=2) == max(scores)


def test_precision_at_k_by_hand():
    assert precision_at_k(np.array([[3, 3, 1], [0, -1, 2]]), np.array([3, 2]), k=2) == 2 / 4
