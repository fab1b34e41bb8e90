"""A row's likeliest labels suffice for a fit under a limit: the thresholds are those of the whole table."""

import numpy as np
import pytest
from threshold_tables import best_by_hand, candidates, limited_by_hand, make

from imettk.config import Recipe, RuleConfig
from imettk.evaluation.rules import fitter_of
from imettk.postprocess import label_fitters
from imettk.postprocess.rule import relative_to_row
from imettk.postprocess.thresholds.candidates import Candidates, find_candidates
from imettk.postprocess.thresholds.fit import fit_candidates, fit_thresholds
from imettk.postprocess.thresholds.goal import Goal

pytestmark = pytest.mark.usefixtures("small_blocks")
GROUPS = [(0,) * 12, (0,) * 5 + (1,) * 7, (0, 1, 1, 0, 2, 1, 0, 0, 1, 2, 1, 0)]


def every_label(probs, targets, groups, relative=False):
    """Return candidates with all labels of the table."""
    scale = relative_to_row(probs) if relative else probs
    none = np.zeros(len(probs), np.int64)
    return Candidates(probs, scale, targets, groups, none, groups, relative=relative, ranked=False)


@pytest.mark.parametrize("average", ["samples", "micro"])
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize(("low", "high"), [(1, 1), (0, 2), (1, 2), (2, 2)])
def test_thresholds_score_as_those_of_the_whole_table_and_none_alone_can_be_better(average, groups, low, high):
    groups, fewer = np.array(groups), 0
    for seed in range(6):
        dtype, relative = (np.float32, np.float64)[seed % 2], seed % 3 == 0
        probs, targets = make(seed, num_samples=8, num_classes=12, decimals=(0, 1, 3)[seed // 2], dtype=dtype)
        goal = Goal((0.5, 1.0, 2.0)[seed % 3], average, low, high)
        likeliest = find_candidates(probs, targets, goal, groups=groups, relative=relative)
        fewer += likeliest.probs.shape[1] < 12
        rule, whole = (
            fit_candidates(labels, goal) for labels in (likeliest, every_label(probs, targets, groups, relative))
        )
        answers = rule.apply(probs)
        assert goal.score(answers, targets) == pytest.approx(goal.score(whole.apply(probs), targets), abs=1e-9)
        scale = relative_to_row(probs) if relative else probs
        fitted = np.array(rule.thresholds).astype(dtype)
        np.testing.assert_array_equal(answers, limited_by_hand(scale >= fitted, probs, low, high))
        for group in range(groups.max() + 1):
            assert len(set(fitted[groups == group])) == 1
            for threshold in candidates(scale[:, groups == group]):
                moved = np.where(groups == group, threshold, fitted)
                other = limited_by_hand(scale >= moved, probs, low, high)
                assert goal.score(other, targets) <= goal.score(answers, targets) + 1e-9
        if groups.max() == 0:
            best = best_by_hand(probs, targets, groups, goal, relative)
            assert goal.score(answers, targets) == pytest.approx(best, abs=1e-9)
    assert fewer == 6


def test_of_equal_probabilities_in_two_groups_the_first_label_stays_the_more_likely():
    probs = np.full((1, 8), 0.5, np.float32)
    groups = np.array([1, 1, 0, 0, 1, 0, 1, 0])
    likeliest = find_candidates(probs, np.eye(1, 8, dtype=np.uint8), Goal(2.0, "samples", 0, 1), groups=groups)
    assert likeliest.groups.tolist() == [0, 1] and likeliest.probs[0, 1] > likeliest.probs[0, 0]  # label 0: group 1
    assert likeliest.targets.tolist() == [[0, 1]] and likeliest.missed.tolist() == [0]


def test_labels_that_are_no_candidates_count_as_missed():
    probs, targets = make(0, num_samples=30, num_classes=12)
    goal = Goal(2.0, "samples", 1, 2)
    likeliest = find_candidates(probs, targets, goal)
    likely = np.argsort(-probs, axis=1, kind="stable")[:, :2]
    np.testing.assert_array_equal(likeliest.scale, np.take_along_axis(probs, likely, 1))
    np.testing.assert_array_equal(likeliest.missed, targets.sum(1) - np.take_along_axis(targets, likely, 1).sum(1))
    assert likeliest.counts(goal).true.tolist() == targets.sum(1).tolist()
    assert likeliest.counts(Goal(2.0, "micro", 1, 2)).true.tolist() == [targets.sum()]


@pytest.mark.parametrize("average", ["samples", "macro", "micro"])
def test_nothing_is_left_out_where_that_would_change_the_fit_or_save_nothing(average):
    probs, targets = make(0, num_samples=5, num_classes=12)
    for limit in (None, 7) if average != "macro" else (None, 7, 1):
        likeliest = find_candidates(probs, targets, Goal(2.0, average, 0, limit), relative=True)
        assert likeliest.probs is probs and likeliest.targets is targets and not likeliest.missed.any()


@pytest.mark.parametrize("kind", ["threshold", "group_thresholds", "class_thresholds", "share", "top"])
@pytest.mark.parametrize("relative", [False, True])
def test_fits_to_some_rows_are_those_to_a_table_of_these_rows_alone(kind, relative):
    probs, targets = make(1, num_samples=60, num_classes=12)
    fitter = fitter_of(Recipe(rule=RuleConfig(kind=kind, max_labels=2, relative=relative)), ("x", "y", "x") * 4)
    fit, folds = fitter.on(probs, targets, np.arange(60) % 5), np.arange(60) % 5
    rng = np.random.default_rng(0)
    for rows in (np.arange(60), np.arange(0, 60, 2), rng.integers(0, 60, 60), np.array([7])):
        assert fit(rows) == fitter.fit(probs[rows], targets[rows], folds[rows])


def test_a_fit_without_shrinkage_is_that_of_the_plain_rule():
    probs, targets = make(2, num_samples=60, num_classes=5)
    plan = RuleConfig(kind="class_thresholds", min_labels=0, shrink_to="one")
    fitter, rows = fitter_of(Recipe(rule=plan), ("",) * 5), np.arange(40)
    plain = fit_thresholds(probs[:40], targets[:40], Goal(2.0), groups=np.arange(5))
    assert fitter.unshrunk(probs, targets)(rows) == plain != fitter.on(probs, targets)(rows)


def test_the_rows_are_looked_through_once_for_many_fits(monkeypatch):
    probs, targets = make(3, num_samples=40, num_classes=12)
    fitter = fitter_of(Recipe(rule=RuleConfig(kind="threshold", max_labels=2)), ("",) * 12)
    looks = []
    monkeypatch.setattr(
        label_fitters,
        "find_candidates",
        lambda *args, **more: looks.append(1) or find_candidates(*args, **more),
    )
    fit = fitter.on(probs, targets)
    assert len({fit(np.arange(part, 40, 5)).thresholds for part in range(5)}) > 1 and looks == [1]
