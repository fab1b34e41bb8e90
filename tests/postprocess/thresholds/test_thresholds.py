"""Fitted thresholds are the best there are, by brute force over every answer that thresholds can give."""

import itertools

import numpy as np
import pandas as pd
import pytest
from places import SHARED
from sklearn.metrics import fbeta_score

from imettk.errors import MismatchError
from imettk.metrics.labels import f_beta
from imettk.postprocess.rule import Thresholds, limit_labels, relative_to_row
from imettk.postprocess.thresholds import ascent, sweep
from imettk.postprocess.thresholds.ascent import ascend
from imettk.postprocess.thresholds.candidates import find_candidates
from imettk.postprocess.thresholds.fit import fit_thresholds, fit_top
from imettk.postprocess.thresholds.goal import Goal
from imettk.postprocess.thresholds.sweep import best_threshold

DATA = SHARED / "data"
AVERAGES = ("samples", "macro", "micro")
LIMITS = [(0, None), (1, None), (0, 2), (1, 2), (2, 3), (2, None)]


def make(seed, *, num_samples=9, num_classes=4, decimals=2, dtype=np.float32):
    """Probabilities (few decimals give ties) and targets that they partly explain."""
    rng = np.random.default_rng(seed)
    probs = rng.random((num_samples, num_classes)) ** 2
    targets = (probs + rng.normal(0, 0.4, probs.shape) > 0.6).astype(np.uint8)
    targets[:1] = 0
    return np.round(probs, decimals).astype(dtype), targets


def candidates(probs):
    """One threshold for each different answer: every probability, and none at all."""
    return [*np.unique(probs), np.asarray(2.5, probs.dtype)]


def limited_by_hand(chosen, probs, low, high):
    """The limits, one row after another; of equal probabilities the first label is the more likely."""
    answer = np.zeros(chosen.shape, bool)
    for row in range(len(probs)):
        likely = sorted(range(probs.shape[1]), key=lambda label: (-probs[row, label], label))
        mine = [label for label in likely if chosen[row, label]]
        mine += [label for label in likely if label not in mine][: max(0, low - len(mine))]
        answer[row, mine[:high]] = True
    return answer


def score_by_hand(chosen, targets, beta, average):
    return fbeta_score(targets, chosen, beta=beta, average=average, zero_division=0)


def best_by_hand(probs, targets, groups, goal, relative=False):
    """The best score over all combinations of thresholds, one a group."""
    scale = relative_to_row(probs) if relative else probs
    options = [candidates(scale[:, groups == group]) for group in range(groups.max() + 1)]
    best = -1.0
    for thresholds in itertools.product(*options):
        chosen = limited_by_hand(scale >= np.array(thresholds)[groups], probs, goal.min_labels, goal.max_labels)
        best = max(best, f_beta(chosen, targets, beta=goal.beta, average=goal.average))
    return best


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that small tables are searched in several steps, and start from a guess, as large ones are."""
    monkeypatch.setattr(sweep, "LEAST_BLOCK", 3)
    monkeypatch.setattr(sweep, "LARGE", 30)
    monkeypatch.setattr(sweep, "ROWS", 4)
    monkeypatch.setattr(ascent, "LEAST_PAIRS", 2)


@pytest.mark.parametrize("average", AVERAGES)
def test_the_score_is_that_of_scikit_learn(average):
    for seed in range(20):
        probs, targets = make(seed, num_samples=300 if seed == 0 else 9)
        for beta in (0.5, 1.0, 2.0):
            ours = f_beta(probs >= 0.3, targets, beta=beta, average=average)
            assert ours == pytest.approx(score_by_hand(probs >= 0.3, targets, beta, average))


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(("low", "high"), LIMITS)
@pytest.mark.parametrize("relative", [False, True])
def test_one_threshold_is_the_best_of_all(average, low, high, relative):
    for seed in range(25):
        probs, targets = make(seed, decimals=1 + seed % 3)
        goal = Goal((0.5, 1.0, 2.0)[seed % 3], average, low, high)
        rule = fit_thresholds(probs, targets, goal, relative=relative)
        assert len(set(rule.thresholds)) == 1 and len(rule.thresholds) == 4
        best = best_by_hand(probs, targets, np.zeros(4, int), goal, relative)
        assert goal.score(rule.apply(probs), targets) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(("low", "high"), LIMITS)
def test_one_threshold_is_the_best_of_all_where_probabilities_are_tiny(low, high):
    """Below 2e-9 they were ranked by their label."""
    for seed in range(100):
        probs, targets = make(seed, decimals=9, dtype=np.float64)
        probs **= 30
        goal = Goal(2.0, "samples", low, high)
        rule = fit_thresholds(probs, targets, goal, groups=np.zeros(4, np.int64))
        best = best_by_hand(probs, targets, np.zeros(4, np.int64), goal)
        assert goal.score(rule.apply(probs), targets) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("average", ["macro", "micro"])
@pytest.mark.parametrize("groups", [(0, 1, 2, 3), (0, 1, 1, 0)])
def test_thresholds_of_labels_that_do_not_depend_on_each_other_are_the_best_of_all(average, groups):
    groups = np.array(groups)
    for seed in range(25):
        probs, targets = make(seed, num_samples=5, decimals=1 + seed % 3)
        if seed % 5 == 0:
            targets[:, 1] = 0
        goal = Goal((0.5, 1.0, 2.0)[seed % 3], average)
        rule = fit_thresholds(probs, targets, goal, groups=groups)
        best = best_by_hand(probs, targets, groups, goal)
        assert goal.score(rule.apply(probs), targets) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(("low", "high"), LIMITS)
@pytest.mark.parametrize("groups", [(0, 1, 2, 3, 4), (0, 0, 1, 1, 1)])
def test_no_threshold_alone_can_be_better_after_an_ascent(average, low, high, groups):
    groups = np.array(groups)
    for seed in range(6):
        probs, targets = make(seed, num_classes=5, decimals=1 + seed % 3)
        goal = Goal(2.0, average, low, high)
        one = fit_thresholds(probs, targets, goal)
        start = sweep.Best(one.thresholds[0], goal.score(one.apply(probs), targets))
        found = find_candidates(probs, targets, goal, groups=groups)
        thresholds = ascend(found, goal, start=start, tell=[].append)[groups]
        score = goal.score(limited_by_hand(probs >= thresholds.astype(np.float32), probs, low, high), targets)
        assert score >= start.score - 1e-12
        for group in range(groups.max() + 1):
            for threshold in candidates(probs[:, groups == group]):
                moved = thresholds.astype(np.float32)
                moved[groups == group] = threshold
                assert goal.score(limited_by_hand(probs >= moved, probs, low, high), targets) <= score + 1e-9


def test_an_ascent_is_mostly_the_best_of_all():
    goal, groups, equal = Goal(2.0, "samples", 1, 2), np.arange(3), 0
    for seed in range(20):
        probs, targets = make(seed, num_samples=6, num_classes=3)
        score = goal.score(fit_thresholds(probs, targets, goal, groups=groups).apply(probs), targets)
        best = best_by_hand(probs, targets, groups, goal)
        assert score <= best + 1e-9
        equal += score >= best - 1e-9
    assert equal >= 14


@pytest.mark.parametrize("average", AVERAGES)
def test_any_shape_and_any_sort_of_probabilities(average):
    rng = np.random.default_rng(0)
    for _ in range(300):
        probs = np.round(rng.random(rng.integers(1, 14, 2)) ** 2, int(rng.integers(0, 4))).astype(np.float32)
        targets = (rng.random(probs.shape) < rng.random()).astype(np.uint8)
        best = best_threshold(probs, targets, beta=2.0, average=average)
        by_hand = max(f_beta(probs >= x, targets, beta=2.0, average=average) for x in candidates(probs))
        assert best.score == pytest.approx(by_hand, abs=1e-9)
        chosen = probs >= np.float32(best.threshold)
        assert f_beta(chosen, targets, beta=2.0, average=average) == pytest.approx(by_hand, abs=1e-9)


def test_group_thresholds_are_better_where_the_groups_differ():
    probs, targets = make(3, num_samples=300)
    probs[:, :2] **= 2
    goal = Goal(2.0)
    one, two = (fit_thresholds(probs, targets, goal, groups=g) for g in (None, np.array([0, 0, 1, 1])))
    assert goal.score(two.apply(probs), targets) > goal.score(one.apply(probs), targets) + 0.002
    assert fit_thresholds(probs, targets, goal, groups=np.zeros(4, int)) == one


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_threshold_lies_midway_between_the_probabilities_that_it_parts(dtype):
    probs = np.array([[0.9, 0.2], [0.8, 0.4]], dtype)
    targets = np.array([[1, 0], [1, 0]], np.uint8)
    assert fit_thresholds(probs, targets, Goal(2.0)).thresholds == pytest.approx((0.6, 0.6), abs=1e-6)
    each = fit_thresholds(probs[:, ::-1].copy(), targets[:, ::-1].copy(), Goal(1.0, "macro"), groups=np.arange(2))
    assert each.thresholds[0] > 1 and each.thresholds[1] == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("towards", [0, 1])
def test_a_threshold_between_neighbouring_floats_still_parts_them(towards):
    """The middle of two neighbours rounds to the even one, here the higher and then the lower."""
    low, high = sorted([np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(towards))])
    rule = fit_thresholds(np.array([[high, low]]), np.array([[1, 0]], np.uint8), Goal(2.0))
    assert rule.apply(np.array([[high, low]])).tolist() == [[True, False]]


@pytest.mark.parametrize("average", AVERAGES)
def test_labels_that_never_hold_are_never_chosen(average):
    probs, targets = make(2, num_samples=40)
    targets[:, 2:] = 0
    rule = fit_thresholds(probs, targets, Goal(2.0, average), groups=np.arange(4))
    assert not rule.apply(probs)[:, 2:].any()
    nothing = fit_thresholds(probs, np.zeros_like(targets), Goal(2.0, average), groups=np.arange(4))
    assert not nothing.apply(probs).any()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), LIMITS)
def test_limits_are_those_of_a_plain_loop_however_small_the_probabilities(low, high, dtype):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        probs = (rng.random((40, 6)) ** rng.choice([1, 30, 300], (40, 1))).astype(dtype)  # down to 0, with ties there
        chosen = rng.random(probs.shape) < rng.random((40, 1))
        before = probs.copy()
        answer = limit_labels(chosen.copy(), probs, min_labels=low, max_labels=high)
        np.testing.assert_array_equal(answer, limited_by_hand(chosen, probs, low, high))
        np.testing.assert_array_equal(probs, before)


@pytest.mark.parametrize(("low", "high"), LIMITS)
def test_limits_are_those_of_a_plain_loop(low, high):
    for seed in range(10):
        probs, _ = make(seed, num_samples=30, num_classes=6, decimals=1)
        chosen = probs >= 0.4
        expected = limited_by_hand(chosen, probs, low, high)
        np.testing.assert_array_equal(limit_labels(chosen, probs, min_labels=low, max_labels=high), expected)


def test_the_best_number_of_labels_is_the_best_of_all():
    probs, targets = make(4, num_samples=50, num_classes=8)
    goal = Goal(2.0)
    rule = fit_top(probs, targets, goal)
    scores = [goal.score(limited_by_hand(probs > 2, probs, k, k), targets) for k in range(1, 9)]
    assert rule.min_labels == rule.max_labels == int(np.argmax(scores)) + 1
    assert goal.score(rule.apply(probs), targets) == pytest.approx(max(scores))


def chexnet():
    source = DATA / "chexnet_preds" / "test_predictions.csv.gz"
    if not source.is_file():
        pytest.skip("shared/data/chexnet_preds is not here")
    frame = pd.read_csv(source, dtype={"patient": str})
    probs = frame.filter(like="prob_").to_numpy(np.float32)
    return probs, frame.filter(like="true_").to_numpy(np.uint8), frame["patient"].to_numpy(str)


@pytest.mark.parametrize("average", AVERAGES)
def test_no_threshold_is_better_on_real_predictions(monkeypatch, average):
    monkeypatch.undo()
    probs, targets, _ = chexnet()
    goal = Goal(2.0, average)
    one = goal.score(fit_thresholds(probs, targets, goal).apply(probs), targets)
    grid = max(f_beta(probs >= np.float32(t), targets, beta=2.0, average=average) for t in np.linspace(0, 1, 101))
    assert one >= grid
    groups = np.arange(14) % 3
    by_group = goal.score(fit_thresholds(probs, targets, goal, groups=groups).apply(probs), targets)
    each = goal.score(fit_thresholds(probs, targets, goal, groups=np.arange(14)).apply(probs), targets)
    assert each >= by_group - 1e-9 >= one - 2e-9
    if average == "macro":
        by_label = [
            max(f_beta(probs[:, [k]] >= t, targets[:, [k]], beta=2.0, average="macro") for t in np.unique(probs[:, k]))
            for k in (1, 13)
        ]
        answers = fit_thresholds(probs, targets, goal, groups=np.arange(14)).apply(probs)
        ours = [f_beta(answers[:, [k]], targets[:, [k]], beta=2.0, average="macro") for k in (1, 13)]
        assert ours == pytest.approx(by_label)


def test_limits_and_a_threshold_for_each_label_on_real_predictions(monkeypatch):
    monkeypatch.undo()
    probs, targets, _ = chexnet()
    probs, targets = probs[:4000], targets[:4000]
    for average in AVERAGES:
        goal = Goal(1.0, average, 1, 3)
        steps = []
        rule = fit_thresholds(probs, targets, goal, groups=np.arange(14), tell=steps.append)
        one = fit_thresholds(probs, targets, goal)
        answers = rule.apply(probs)
        assert answers.sum(1).min() >= 1 and answers.sum(1).max() <= 3 and len(steps) >= 28
        assert goal.score(answers, targets) > goal.score(one.apply(probs), targets) + 0.002


def test_a_rule_for_other_labels_is_refused():
    with pytest.raises(MismatchError, match="for 2 labels, the probabilities are of 3"):
        Thresholds(thresholds=(0.1, 0.2)).apply(np.zeros((4, 3), np.float32))
