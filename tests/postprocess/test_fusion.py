"""Fused rankings against a plain loop over dictionaries."""

import numpy as np
import pytest

from imettk.postprocess import fusion
from imettk.postprocess.fusion import fuse
from imettk.postprocess.ranking import Ranked


def some_ranking(rng, num_queries, num_labels, k):
    labels = np.stack([rng.permutation(num_labels)[:k] for _ in range(num_queries)])
    scores = -np.sort(-rng.integers(0, 64, (num_queries, k)) / 64, axis=1)
    few = rng.integers(1, k + 1, num_queries)[:, None] <= np.arange(k)
    return Ranked(np.where(few, -1, labels), np.where(few, -np.inf, scores).astype(np.float32))


def by_hand(rankings, weights, num_labels, k, row):
    lists = [
        {int(a): float(b) for a, b in zip(ranking.labels[row], ranking.scores[row], strict=True) if a >= 0}
        for ranking in rankings
    ]
    listed = sorted(set().union(*lists))
    score = {
        label: sum(w * scores.get(label, min(scores.values())) for scores, w in zip(lists, weights, strict=True))
        / sum(weights)
        for label in listed
    }
    return sorted(listed, key=lambda label: (-score[label], label))[:k], score


@pytest.mark.parametrize("cells", [10, 4_000_000])
def test_fused_scores_are_the_weighted_means(cells, monkeypatch):
    monkeypatch.setattr(fusion, "CELLS", cells)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rankings = [some_ranking(rng, 7, 9, width) for width in (3, 5)]
        fused = fuse(rankings, [1.0, 3.0], num_labels=9, k=4)
        assert fused.labels.shape == fused.scores.shape == (7, 4)
        for row in range(7):
            expected, score = by_hand(rankings, [1.0, 3.0], 9, 4, row)
            labels = [label for label in fused.labels[row].tolist() if label >= 0]
            assert labels == expected
            assert fused.scores[row, : len(labels)].tolist() == pytest.approx([score[label] for label in labels])
            assert (fused.scores[row, len(labels) :] == -np.inf).all()


def test_a_query_that_one_ranking_knows_nothing_of_has_no_answer():
    known, empty = Ranked(np.array([[1, 0]]), np.array([[0.9, 0.5]])), Ranked(np.array([[-1]]), np.array([[-np.inf]]))
    assert fuse([known, empty], [1, 1], num_labels=2, k=2).labels.tolist() == [[-1, -1]]
    assert fuse([known, known], [1, 0], num_labels=2, k=3).labels.tolist() == [[1, 0, -1]]
