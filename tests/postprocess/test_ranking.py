"""Distinct labels in order, against plain loops over each query's neighbours."""

import time

import numpy as np
import pytest

from imettk.postprocess.ranking import Pooling, drop_repeats, rank_labels, rank_probs, to_scored


def made(seed, num_rows=60, num_near=12, num_images=40, num_labels=9, steps=6):
    """Return neighbours, some missing, with many ties: similarities are multiples of 1 / 4, so sums are exact."""
    rng = np.random.default_rng(seed)
    rows = np.array([rng.permutation(num_images)[:num_near] for _ in range(num_rows)])
    similarities = -np.sort(-rng.integers(-steps, steps + 1, rows.shape) / 4).astype(np.float32)
    is_there = np.arange(num_near) < rng.integers(0, num_near + 1, num_rows)[:, None]
    labels = rng.integers(-1, num_labels, num_images)
    return np.where(is_there, rows, -1), np.where(is_there, similarities, -np.inf).astype(np.float32), labels


def by_loop(rows, similarities, labels, k, pooling):
    """Return (labels, scores) of a query: labels in order of their first neighbour, then sorted by score."""
    met = {}
    for row, similarity in zip(rows.tolist(), similarities.tolist(), strict=True):
        if row >= 0 and labels[row] >= 0:
            met.setdefault(int(labels[row]), []).append(similarity)
    total = sum(np.exp(value / pooling.temperature) for values in met.values() for value in values)
    score = {
        "best": lambda values: values[0],
        "mean": lambda values: np.mean(values[: pooling.best_of]),
        "vote": lambda values: sum(np.exp(value / pooling.temperature) for value in values) / total,
    }[pooling.pool]
    scores = {label: np.float32(score(values)) for label, values in met.items()}
    order = sorted(scores, key=lambda label: -scores[label])[:k]
    fill = k - len(order)
    return order + [-1] * fill, [scores[label] for label in order] + [-np.inf] * fill


@pytest.mark.parametrize("best_of", [1, 2, 3])
@pytest.mark.parametrize("pool", ["best", "mean", "vote"])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_ranked_labels_are_a_plain_loops(k, pool, best_of):
    pooling = Pooling(pool, best_of=best_of, temperature=0.7)
    for seed in range(5):
        rows, similarities, labels = made(seed)
        if pool == "vote":  # sums of exponentials tie only by chance of rounding: make them differ
            similarities -= np.random.default_rng(seed).random(similarities.shape).astype(np.float32)
            similarities = -np.sort(-similarities)
        ranked = rank_labels(rows, similarities, labels, k=k, pooling=pooling)
        assert (ranked.labels.dtype, ranked.scores.dtype) == (np.int64, np.float32)
        for query in range(len(rows)):
            expected = by_loop(rows[query], similarities[query], labels, k, pooling)
            assert ranked.labels[query].tolist() == expected[0]
            np.testing.assert_allclose(ranked.scores[query], expected[1], rtol=1e-6)


def test_equal_scores_go_to_the_label_whose_neighbour_came_first():
    rows, labels = np.array([[4, 1, 2, 0, 3]]), np.array([5, 8, 2, 5, 7])
    similarities = np.full((1, 5), 0.5, np.float32)
    for pool, order in (("best", [7, 8, 2, 5]), ("mean", [7, 8, 2, 5]), ("vote", [5, 7, 8, 2])):
        assert rank_labels(rows, similarities, labels, k=4, pooling=Pooling(pool)).labels.tolist() == [order]


def test_without_neighbours_or_labels_there_is_no_answer():
    nothing = np.full((2, 3), -1), np.full((2, 3), np.nan, np.float32)
    for pool in ("best", "mean", "vote"):
        for labels in (np.zeros(0, np.int64), np.array([4, 5]), np.array([-1])):
            ranked = rank_labels(*nothing, labels, k=4, pooling=Pooling(pool))
            assert (ranked.labels == -1).all() and (ranked.scores == -np.inf).all() and ranked.labels.shape == (2, 4)
    assert rank_labels(nothing[0][:0], nothing[1][:0], np.array([1]), k=2).labels.shape == (0, 2)


def test_a_vote_far_from_zero_does_not_overflow():
    similarities = np.array([[1, 0.999, -1]], np.float32)
    ranked = rank_labels(
        np.array([[0, 1, 2]]), similarities, np.arange(3), k=3, pooling=Pooling("vote", temperature=1e-3)
    )
    np.testing.assert_allclose(ranked.scores[0], [np.e / (1 + np.e), 1 / (1 + np.e), 0], rtol=1e-4)


@pytest.mark.parametrize("pool", ["best", "mean", "vote"])
def test_a_large_table_takes_seconds_not_minutes(pool):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 50_000, (10_000, 100))
    similarities = -np.sort(-rng.random(rows.shape, dtype=np.float32))
    labels = rng.integers(0, 2_000, 50_000)
    started = time.process_time()
    rank_labels(rows, similarities, labels, k=5, pooling=Pooling(pool))
    assert time.process_time() - started < 5  # 0.15 alone on two cores; a loop over queries takes some 10


def test_classes_are_ranked_by_a_stable_sort():
    probs = np.random.default_rng(0).integers(0, 4, (30, 6)).astype(np.float32) / 4
    order = np.argsort(-probs, axis=1, kind="stable")
    for k in (1, 4, 6):
        ranked = rank_probs(probs, k)
        np.testing.assert_array_equal(ranked.labels, order[:, :k])
        np.testing.assert_array_equal(ranked.scores, np.take_along_axis(probs, order[:, :k], 1))
    wide = rank_probs(probs, 8)
    assert (wide.labels[:, 6:] == -1).all() and (wide.scores[:, 6:] == -np.inf).all()
    probs[3, 2] = np.nan
    lost = rank_probs(probs, 2)
    assert lost.labels[3].tolist() == [-1, -1] and (lost.scores[3] == -np.inf).all() and (lost.labels[4] >= 0).all()


def test_labels_that_are_not_scored_become_the_unknown_one_once():
    scored = np.array([True, False, True, False, True])
    ranked = np.array([[1, 0, 3, 2, 4], [0, 2, 4, 1, 3], [0, 3, -1, -1, -1], [2, -1, -1, -1, -1]])
    expected = [[5, 0, 2, 4, -1], [0, 2, 4, 5, -1], [0, 5, -1, -1, -1], [2, -1, -1, -1, -1]]
    assert to_scored(ranked, scored, 5, 5).tolist() == expected
    assert to_scored(ranked, scored, 5, 3).tolist() == [row[:3] for row in expected]
    assert to_scored(ranked, scored, 5, 7).tolist() == [[*row, -1, -1] for row in expected]


def test_scored_answers_are_a_plain_loops():
    rng = np.random.default_rng(0)
    ranked, scored = np.argsort(rng.random((50, 12)), axis=1), rng.random(12) < 0.4
    ranked[np.arange(12) >= rng.integers(0, 13, 50)[:, None]] = -1
    answers = to_scored(ranked, scored, 12, 4)
    for row, answer in zip(ranked, answers, strict=True):
        named = [label if scored[label] else 12 for label in row.tolist() if label >= 0]
        expected = list(dict.fromkeys(named))[:4]
        assert answer.tolist() == expected + [-1] * (4 - len(expected))


def test_repeats_of_one_label_go_and_others_stay():
    assert drop_repeats(np.array([[9, 3, 9, -1, 3, 9]]), 9).tolist() == [[9, 3, 3, -1, -1, -1]]
