"""Confidences of rows, by a plain loop over rows and labels."""

import numpy as np
import pytest

from imettk.postprocess.pseudo import Selection, agreement, rank_confidence, row_confidence, surest, worth


def odds(value):
    kept = min(max(float(value), 1e-6), 1 - 1e-6)
    return kept / (1 - kept)


def sure_by_hand(probs, thresholds, confidence):
    """Return the confidence from the ratio of each label's odds to its threshold's odds."""
    if thresholds is None:
        return [max(row) >= confidence for row in probs.tolist()]
    times = confidence / (1 - confidence)
    sure = []
    for row in probs:
        ratios = [odds(prob) / odds(threshold) for prob, threshold in zip(row, thresholds, strict=True)]
        sure.append(all(ratio >= times or ratio <= 1 / times for ratio in ratios))
    return sure


@pytest.mark.parametrize("confidence", [0.5, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sure_rows_are_those_of_a_plain_loop(confidence, dtype):
    rng = np.random.default_rng(0)
    probs = rng.random((200, 3)).astype(dtype) ** 4
    probs[:20] = np.round(probs[:20])  # as sure as can be
    thresholds = np.array([0.1, 0.5, 0.02])
    ours = row_confidence(probs, thresholds) >= confidence
    assert ours.dtype == bool and ours.tolist() == sure_by_hand(probs, thresholds, confidence)
    assert ours[:20].all()
    by_class = row_confidence(probs, None) >= confidence
    assert by_class.dtype == bool and by_class.tolist() == sure_by_hand(probs, None, confidence)
    assert 0 < by_class.sum() < 200


def test_without_thresholds_off_the_middle_a_label_is_sure_where_its_probability_is():
    """With thresholds of 0.5 the confidence is a probability, on either side; 0 and 1 are clipped."""
    probs = np.array([[0.0, 1.0], [0.91, 0.09], [0.89, 0.01], [0.99, 0.11], [0.5, 0.0]], np.float32)
    assert (row_confidence(probs, np.array([0.5, 0.5])) >= 0.9).tolist() == [True, True, False, False, False]


def test_a_label_that_is_never_chosen_makes_no_row_unsure():
    """`ABOVE_ALL` counts as a probability of almost 1."""
    probs = np.array([[0.98, 0.9], [0.02, 0.001]], np.float32)
    assert (row_confidence(probs, np.array([0.5, 2.0])) >= 0.95).tolist() == [True, True]
    assert (row_confidence(probs, np.array([0.5, 0.9])) >= 0.95).tolist() == [False, True]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_where_the_likeliest_labels_are_taken_the_doubt_lies_between_the_last_and_the_next(count):
    """The odds of the last label are the squared odds of the confidence times the odds of the next label."""
    probs = np.random.default_rng(0).random((50, 4)) ** 2
    for row, level in zip(probs, rank_confidence(probs, count), strict=True):
        falling = sorted(row, reverse=True)
        assert odds(falling[count - 1]) / odds(falling[count]) == pytest.approx(odds(level) ** 2)
        between = (odds(falling[count - 1]) * odds(falling[count])) ** 0.5
        assert level == pytest.approx(row_confidence(row[None], np.full(4, between / (1 + between)))[0])
    assert (rank_confidence(probs, 4) > 0.99).all() and rank_confidence(np.full((2, 3), 0.4), 1).tolist() == [0.5, 0.5]


def test_sure_rows_are_far_from_every_threshold():
    probs = np.array([[0.9, 0.1], [0.9, 0.45], [0.05, 0.2], [0.25, 0.001]])
    thresholds = np.array([0.5, 0.3])
    expected = []
    for row in probs:
        odds = [p / (1 - p) / (t / (1 - t)) for p, t in zip(row, thresholds, strict=True)]
        expected.append(all(max(odd, 1 / odd) >= 0.7 / 0.3 for odd in odds))
    assert (row_confidence(probs, thresholds) >= 0.7).tolist() == expected and len(set(expected)) == 2
    classes = np.array([[0.2, 0.8], [0.45, 0.55]])
    assert (row_confidence(classes, None) >= 0.6).tolist() == [True, False]


def test_numbers_are_as_sure_as_models_are_near_each_other():
    numbers = np.random.default_rng(0).normal(size=(3, 20, 2)) * [1, 50]
    confidences = agreement(numbers, np.array([2.0, 100.0]))
    for row in range(20):
        apart = [np.sqrt(np.mean((predictions - predictions.mean()) ** 2)) for predictions in numbers[:, row].T]
        assert confidences[row] == pytest.approx(1 - max(apart[0] / 2, apart[1] / 100))
    assert (agreement(np.ones((4, 3, 1)), np.zeros(1)) == 1).all()


def test_the_surest_rows_of_each_label_are_taken():
    rng = np.random.default_rng(1)
    levels, labels = rng.random(50), rng.integers(0, 4, 50)
    sure = surest(levels, labels, 0.3)
    for label in range(4):
        rows = sorted(np.flatnonzero(labels == label), key=lambda row: -levels[row])
        assert sorted(np.flatnonzero(sure & (labels == label))) == sorted(rows[: int(np.ceil(0.3 * len(rows)))])
    assert surest(levels, labels, 1.0).all()
    assert Selection(None, 0.3).take(levels, labels).tolist() == sure.tolist()
    assert Selection(0.8, 0.3).take(levels, labels).tolist() == (levels >= 0.8).tolist()


def test_errors_cost_more_than_rows():
    right = np.array([1.0, 1.0, 1.0, 0.0, 0.5])
    assert worth(np.array([1, 1, 1, 0, 0], bool), right) == 3
    assert worth(np.array([1, 1, 1, 1, 0], bool), right) == 4 * (1 - 2 / 4) ** 2
    assert worth(np.array([0, 0, 0, 1, 1], bool), right) == 0 == worth(np.zeros(5, bool), right)


def test_a_selection_is_open_until_rows_and_power_are_known():
    for selection in (Selection(None), Selection(0.8, power=None), Selection(None, 0.5, None)):
        assert selection.is_open
    assert not Selection().is_open and not Selection(None, 0.5).is_open
    assert not Selection(None, 0.5, None, hard=True).is_open and Selection(None, hard=True).is_open
