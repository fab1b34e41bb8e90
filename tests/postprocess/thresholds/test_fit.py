"""Fitted thresholds are optimal, by brute force over every answer that thresholds can give."""

import numpy as np
import pytest
from threshold_tables import AVERAGES, LIMITS, best_by_hand, chexnet, limited_by_hand, make

from imettk.metrics.labels import f_beta
from imettk.postprocess.thresholds.fit import fit_thresholds, fit_top
from imettk.postprocess.thresholds.goal import Goal

pytestmark = pytest.mark.usefixtures("small_blocks")


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
    """An earlier version ranked probabilities below 2e-9 by their label."""
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


def test_group_thresholds_are_better_where_the_groups_differ():
    probs, targets = make(3, num_samples=300)
    probs[:, :2] **= 2
    goal = Goal(2.0)
    single, grouped = (fit_thresholds(probs, targets, goal, groups=g) for g in (None, np.array([0, 0, 1, 1])))
    assert goal.score(grouped.apply(probs), targets) > goal.score(single.apply(probs), targets) + 0.002
    assert fit_thresholds(probs, targets, goal, groups=np.zeros(4, int)) == single


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_threshold_lies_midway_between_the_probabilities_that_it_parts(dtype):
    probs = np.array([[0.9, 0.2], [0.8, 0.4]], dtype)
    targets = np.array([[1, 0], [1, 0]], np.uint8)
    assert fit_thresholds(probs, targets, Goal(2.0)).thresholds == pytest.approx((0.6, 0.6), abs=1e-6)
    by_label = fit_thresholds(probs[:, ::-1].copy(), targets[:, ::-1].copy(), Goal(1.0, "macro"), groups=np.arange(2))
    assert by_label.thresholds[0] > 1 and by_label.thresholds[1] == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("towards", [0, 1])
def test_a_threshold_between_neighbouring_floats_still_parts_them(towards):
    """The middle of adjacent floats rounds to the even one: here the higher, then the lower."""
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


def test_the_best_number_of_labels_is_the_best_of_all():
    probs, targets = make(4, num_samples=50, num_classes=8)
    goal = Goal(2.0)
    rule = fit_top(probs, targets, goal)
    scores = [goal.score(limited_by_hand(probs > 2, probs, k, k), targets) for k in range(1, 9)]
    assert rule.min_labels == rule.max_labels == int(np.argmax(scores)) + 1
    assert goal.score(rule.apply(probs), targets) == pytest.approx(max(scores))


@pytest.mark.parametrize("average", AVERAGES)
def test_no_threshold_is_better_on_real_predictions(monkeypatch, average):
    monkeypatch.undo()
    probs, targets, _ = chexnet()
    goal = Goal(2.0, average)
    single = goal.score(fit_thresholds(probs, targets, goal).apply(probs), targets)
    grid = max(f_beta(probs >= np.float32(t), targets, beta=2.0, average=average) for t in np.linspace(0, 1, 101))
    assert single >= grid
    groups = np.arange(14) % 3
    by_group = goal.score(fit_thresholds(probs, targets, goal, groups=groups).apply(probs), targets)
    of_labels = goal.score(fit_thresholds(probs, targets, goal, groups=np.arange(14)).apply(probs), targets)
    assert of_labels >= by_group - 1e-9 >= single - 2e-9
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
        single = fit_thresholds(probs, targets, goal)
        answers = rule.apply(probs)
        assert answers.sum(1).min() >= 1 and answers.sum(1).max() <= 3 and len(steps) >= 28
        assert goal.score(answers, targets) > goal.score(single.apply(probs), targets) + 0.002
