"""The unknown label is inserted at the right place, and no other threshold scores better."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from imettk.metrics.ranked import map_at_k
from imettk.postprocess.openset import fit_unknown, insert_unknown, threshold_for_share, unknown_auc
from imettk.postprocess.ranking import Ranked

UNKNOWN = 20


def made(seed, num_rows=40, k=5, steps=12, with_unknown=False):
    """Return ranked labels with ties and short rows, and a truth that includes the unknown label."""
    rng = np.random.default_rng(seed)
    known = np.append(np.arange(7), UNKNOWN) if with_unknown else np.arange(UNKNOWN)
    labels = np.array([rng.permutation(known)[:k] for _ in range(num_rows)])
    scores = -np.sort(-rng.integers(-steps, steps + 1, labels.shape) / steps).astype(np.float32)
    short = np.arange(k) >= rng.integers(0, 2 * k, num_rows)[:, None]
    targets = np.where(rng.random(num_rows) < 0.3, UNKNOWN, labels[np.arange(num_rows), rng.integers(0, k, num_rows)])
    targets[::7] = 19
    ranked = Ranked(np.where(short, -1, labels), np.where(short, -np.inf, scores).astype(np.float32))
    return ranked, targets


def by_loop(labels, scores, threshold):
    """Return a row with the unknown label inserted."""
    k, answer = len(labels), []
    for label, score in zip(labels, scores, strict=True):
        if score < threshold and UNKNOWN not in answer:
            answer.append(UNKNOWN)
        if label not in answer and label >= 0:
            answer.append(label)
    return (answer + [-1] * k)[:k]


@pytest.mark.parametrize("with_unknown", [False, True])
def test_the_unknown_label_enters_before_the_first_low_score(with_unknown):
    for seed in range(5):
        ranked, _ = made(seed, with_unknown=with_unknown)
        for threshold in (-3.0, -0.5, 0.0, 0.25, 1.0, 3.0):
            answers = insert_unknown(ranked, threshold, unknown=UNKNOWN)
            expected = [by_loop(*row, threshold) for row in zip(*(part.tolist() for part in ranked), strict=True)]
            assert answers.tolist() == expected


def test_by_hand():
    ranked = Ranked(np.array([[4, 2, 7]]), np.array([[0.9, 0.5, 0.1]], np.float32))
    for threshold, expected in (
        (0.05, [4, 2, 7]),
        (0.1, [4, 2, 7]),
        (0.2, [4, 2, 20]),
        (0.6, [4, 20, 2]),
        (1, [20, 4, 2]),
    ):
        assert insert_unknown(ranked, threshold, unknown=20).tolist() == [expected]


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("with_unknown", [False, True])
@pytest.mark.parametrize("steps", [12, 10_000])
def test_the_threshold_is_the_best_of_all_in_the_middle_of_the_widest_range(k, with_unknown, steps):
    for seed in range(15):
        ranked, targets = made(seed, num_rows=25, steps=steps, with_unknown=with_unknown)
        cut = Ranked(ranked.labels[:, :k], ranked.scores[:, :k])
        threshold, score = fit_unknown(ranked, targets, unknown=UNKNOWN, k=k)

        def points(threshold, cut=cut, targets=targets):
            return map_at_k(insert_unknown(cut, threshold, unknown=UNKNOWN), targets)

        values = np.unique(cut.scores[np.isfinite(cut.scores)])
        # A threshold at a score stands for all down to the next lower one.
        scores = np.array([points(value) for value in [*values.tolist(), 3.0]])
        assert score == pytest.approx(scores.max()) and points(threshold) == pytest.approx(score)
        ends = [-np.inf, *values.tolist(), np.inf]
        ranges = []
        for low, high, value in zip(ends[:-1], ends[1:], scores, strict=True):
            if value < scores.max() - 1e-12:
                continue
            low = ranges.pop()[0] if ranges and ranges[-1][1] == low else low
            ranges.append((low, high))
        closed = {pair: pair[1] - pair[0] for pair in ranges if np.isfinite(pair).all()}
        if closed:
            widest = max(closed.values())
            middles = [sum(pair) / 2 for pair, width in closed.items() if width > widest - 1e-6]
            assert min(abs(threshold - middle) for middle in middles) < 1e-6
        else:
            assert threshold in (pytest.approx(values[0] - 2), pytest.approx(values[-1] + 2))


@pytest.mark.parametrize("low", [np.float32(0.7), np.nextafter(np.float32(0.7), np.float32(1))])
def test_a_threshold_between_neighbouring_numbers_still_parts_them(low):
    """The middle of adjacent floats rounds to one of them: the lower one would not separate them."""
    high = np.nextafter(low, np.float32(1))
    ranked = Ranked(np.array([[1], [2]]), np.array([[high], [low]], np.float32))
    threshold, score = fit_unknown(ranked, np.array([1, UNKNOWN]), unknown=UNKNOWN, k=1)
    assert score == 1 and insert_unknown(ranked, threshold, unknown=UNKNOWN).tolist() == [[1], [UNKNOWN]]
    threshold = threshold_for_share(ranked.scores[:, 0], 0.5)
    assert insert_unknown(ranked, threshold, unknown=UNKNOWN).tolist() == [[1], [UNKNOWN]]


def test_open_ends_are_always_and_never():
    ranked = Ranked(np.array([[1], [2]]), np.array([[-1], [1]], np.float32))
    assert fit_unknown(ranked, np.array([1, 2]), unknown=UNKNOWN, k=1) == (-3.0, 1.0)
    assert fit_unknown(ranked, np.array([UNKNOWN] * 2), unknown=UNKNOWN, k=1) == (3.0, 1.0)
    assert fit_unknown(ranked, np.array([5, 5]), unknown=UNKNOWN, k=1) == (-3.0, 0.0)  # nothing helps
    nobody = Ranked(np.full((2, 2), -1), np.full((2, 2), -np.inf, np.float32))
    assert fit_unknown(nobody, np.array([UNKNOWN, 3]), unknown=UNKNOWN, k=2) == (0.0, 0.5)


@pytest.mark.parametrize("steps", [4, 10_000])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 0.5, 1.0])
def test_a_share_of_the_rows_is_unknown_first(share, steps):
    for seed in range(5):
        ranked, _ = made(seed, num_rows=200, steps=steps)
        threshold = threshold_for_share(ranked.scores[:, 0], share)
        first = insert_unknown(ranked, threshold, unknown=UNKNOWN)[:, 0]
        reached = (first == UNKNOWN).mean()
        shares = [(ranked.scores[:, 0] < value).mean() for value in [*np.unique(ranked.scores[:, 0]).tolist()[1:], 3.0]]
        shares.append((ranked.scores[:, 0] == -np.inf).mean())
        assert abs(reached - share) == pytest.approx(min(abs(value - share) for value in shares))


def test_the_auc_is_scikit_learns():
    rng = np.random.default_rng(0)
    is_unknown = rng.random(100) < 0.4
    scores = (rng.random(100) - 0.3 * is_unknown).round(1).astype(np.float32)
    assert unknown_auc(scores, is_unknown) == pytest.approx(roc_auc_score(~is_unknown, scores))
    lost = np.where(np.arange(100) < 5, -np.inf, scores)
    assert unknown_auc(lost, is_unknown) == pytest.approx(roc_auc_score(~is_unknown, np.maximum(lost, -9)))
    assert unknown_auc(scores, np.zeros(100, bool)) is None and unknown_auc(scores, np.ones(100, bool)) is None
