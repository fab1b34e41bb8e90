"""No rule answers rows that it was fitted on; shrinkage and intervals equal their formulas, and help on real data."""

import numpy as np
import pytest
from sklearn.metrics import fbeta_score
from threshold_tables import AVERAGES, chexnet, make

from imettk.config import Recipe, RuleConfig
from imettk.evaluation.rules import fitter_of
from imettk.metrics.labels import f_beta_resampled
from imettk.postprocess.honest import (
    STRENGTHS,
    choose_strength,
    cross_fit,
    draw_rows,
    score_interval,
    shrink,
    threshold_intervals,
)
from imettk.postprocess.rule import Thresholds
from imettk.postprocess.thresholds.goal import Goal


def test_no_rule_answers_rows_that_it_was_fitted_on():
    probs, folds, seen = np.random.default_rng(0).random((30, 2)), np.arange(30) % 3, []

    def fit(rows):
        seen.append(rows)
        return Thresholds(thresholds=(0.1 * len(seen), 2.0))

    chosen, rules = cross_fit(fit, probs, folds)
    assert [sorted(set(folds[rows])) for rows in seen] == [[1, 2], [0, 2], [0, 1]] and list(rules) == [0, 1, 2]
    np.testing.assert_array_equal(chosen[:, 0], probs[:, 0] >= 0.1 * (folds + 1))


def test_shrinkage_is_a_weighted_mean_of_logits():
    fitted, toward = Thresholds(thresholds=(0.9, 0.02, 2.0, 0.3)), Thresholds(thresholds=(0.5, 0.5, 0.5, 2.0))
    true = np.array([30, 10, 0, 5])
    thresholds = shrink(fitted, toward, true, 10.0).thresholds
    logit = 0.75 * np.log(0.9 / 0.1) + 0.25 * 0
    assert thresholds[0] == pytest.approx(1 / (1 + np.exp(-logit)))
    assert thresholds[1] == pytest.approx(1 / (1 + np.exp(-0.5 * np.log(0.02 / 0.98))))
    assert thresholds[2:] == (2.0, 0.3)  # one of the two never chooses it
    assert shrink(fitted, toward, true, 0.0) == fitted
    assert shrink(fitted, toward, true, 1e12).thresholds[:2] == pytest.approx((0.5, 0.5))


def test_shrinkage_by_hand_for_any_counts_and_strength():
    rng = np.random.default_rng(0)
    mine, other, true = 1e-5 + 0.99 * rng.random(40) ** 3, rng.random(40), rng.integers(0, 60, 40)
    fitted = Thresholds(thresholds=tuple(mine.tolist()), min_labels=1, max_labels=3)
    toward = Thresholds(thresholds=tuple(other.tolist()))
    for strength in (1.0, 20.0, 500.0):
        shrunk = shrink(fitted, toward, true, strength)
        assert (shrunk.min_labels, shrunk.max_labels, shrunk.kind) == (1, 3, "threshold")
        odds, odds_other, weight = mine / (1 - mine), other / (1 - other), true / (true + strength)
        mixed = odds**weight * odds_other ** (1 - weight)
        np.testing.assert_allclose(shrunk.thresholds, mixed / (1 + mixed), rtol=1e-9)
        assert all(
            min(a, b) <= x <= max(a, b) for a, b, x in zip(mine, other, shrunk.thresholds, strict=True) if a != b
        )
    np.testing.assert_allclose(shrink(fitted, toward, np.zeros(40, int), 1.0).thresholds, other, rtol=1e-9)


def test_a_stronger_pull_is_chosen_where_labels_differ_by_chance_alone_and_none_where_they_truly_do():
    """The scores of strengths are those of held-out rows, and the choice follows the rule of one standard error."""
    probs = np.linspace(0, 1, 400, dtype=np.float32)[np.random.default_rng(0).permutation(400)]
    probs = np.stack([probs, probs[::-1]], axis=1)
    targets, folds = (probs > [0.2, 0.8]).astype(np.uint8), np.arange(400) % 4
    goal, seen = Goal(1.0, "macro"), []

    def right(rows):
        seen.append(rows)
        return Thresholds(thresholds=(0.2, 0.8))

    wrong = Thresholds(thresholds=(0.6, 0.6))
    strength, scores = choose_strength(right, lambda rows: wrong, probs, targets, folds, goal)
    assert strength == 0 and scores[0] == 1
    assert [set(folds[rows]) for rows in seen] == [{1, 2, 3}, {0, 2, 3}, {0, 1, 3}, {0, 1, 2}]
    assert choose_strength(lambda rows: wrong, right, probs, targets, folds, goal)[0] == max(STRENGTHS)
    for strength, score in scores.items():
        chosen = np.zeros(probs.shape, bool)
        for fold in range(4):
            true = targets[folds != fold].sum(0)
            chosen[folds == fold] = shrink(right(folds), wrong, true, strength).apply(probs[folds == fold])
        assert score == pytest.approx(goal.score(chosen, targets), abs=1e-12)


def test_the_strength_is_the_largest_within_a_standard_error_of_a_jackknife_over_folds():
    rng = np.random.default_rng(1)
    probs = rng.random((300, 6)).astype(np.float32)
    targets = (rng.random(probs.shape) < probs**3).astype(np.uint8)
    folds, goal = rng.integers(0, 5, 300), Goal(1.0, "micro")
    inner = []
    for trial in range(6):
        fitted, toward = (Thresholds(thresholds=tuple(rng.uniform(0.3, 0.7, 6))) for _ in range(2))
        choice, scores = choose_strength(
            lambda rows, r=fitted: r, lambda rows, r=toward: r, probs, targets, folds, goal
        )
        answers = {}
        for strength in STRENGTHS:
            answers[strength] = np.zeros(probs.shape, bool)
            for fold in range(5):
                rule = shrink(fitted, toward, targets[folds != fold].sum(0), strength)
                answers[strength][folds == fold] = rule.apply(probs[folds == fold])
        best = max(STRENGTHS, key=lambda strength: scores[strength])
        near = []
        for strength in STRENGTHS:
            left_out = []
            for fold in range(5):
                kept = folds != fold
                score_here, best_score = (
                    goal.score(answers[candidate][kept], targets[kept]) for candidate in (strength, best)
                )
                left_out.append(score_here - best_score)
            error = np.sqrt(4 / 5 * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
            if scores[strength] >= scores[best] - error:
                near.append(strength)
        assert choice == max(near), trial
        inner.append(best < choice)
    assert any(inner)


def test_the_strength_is_one_that_scores_nearly_best_on_unseen_rows():
    rng = np.random.default_rng(0)
    probs = rng.random((400, 30)).astype(np.float32)
    targets = (rng.random(probs.shape) < 0.02 + 0.1 * (probs > 0.8)).astype(np.uint8)  # few rows a label, one threshold
    fitter = fitter_of(
        Recipe(rule=RuleConfig(kind="class_thresholds", beta=1.0, average="macro", min_labels=0)), ("",) * 30
    )
    single = fitter_of(Recipe(rule=RuleConfig(kind="threshold", beta=1.0, average="macro", min_labels=0)), ("",) * 30)
    strength, scores = choose_strength(
        lambda rows: fitter.fit(probs[rows], targets[rows]),
        lambda rows: single.fit(probs[rows], targets[rows]),
        probs,
        targets,
        np.arange(400) % 5,
        fitter.goal,
    )
    assert set(scores) == set(STRENGTHS) and strength >= 50 and scores[strength] > scores[0.0]
    chosen, _ = cross_fit(lambda rows: fitter.fit(probs[rows], targets[rows]), probs, np.arange(400) % 5)
    assert scores[0.0] == pytest.approx(fitter.goal.score(chosen, targets))


def test_a_single_row_or_fold_has_no_unseen_rows_to_choose_a_strength_by():
    plan = RuleConfig(kind="class_thresholds", min_labels=0, shrink_to="one", shrink_strength=None)
    fitter, probs = fitter_of(Recipe(rule=plan), ("",) * 2), np.array([[0.7, 0.2]], np.float32)
    rule = fitter.fit(probs, np.array([[1, 0]], np.uint8), np.zeros(1, int))
    assert rule.apply(probs).tolist() == [[True, False]]
    fit = lambda rows: rule  # noqa: E731
    choice = choose_strength(fit, fit, probs, np.array([[1, 0]], np.uint8), np.zeros(1, int), fitter.goal)
    assert choice == (STRENGTHS[-1], {})


def test_draws_hold_whole_groups():
    groups = np.repeat(np.arange(10), np.arange(1, 11))
    draws = list(draw_rows(55, groups, 50, seed=1))
    for rows in draws:
        counts = np.bincount(rows, minlength=55)
        assert all(len(set(counts[groups == group])) == 1 for group in range(10))
        assert sum(counts[groups == group][0] for group in range(10)) == 10
    assert [len(rows) for rows in draw_rows(7, None, 3)] == [7, 7, 7]
    assert any((a != b).any() for a, b in zip(draw_rows(9, None, 3, 0), draw_rows(9, None, 3, 1), strict=True))


def interval(chosen, targets, goal, **more):
    """Return the interval of an F-beta."""
    score_of = f_beta_resampled(chosen, targets, beta=goal.beta, average=goal.average)
    return score_interval(score_of, len(targets), low=0, high=1, **more)


@pytest.mark.parametrize("average", AVERAGES)
def test_an_interval_is_that_of_a_plain_bootstrap(average):
    probs, targets = make(0, num_samples=60)
    chosen, groups = probs > 0.3, np.arange(60) // 3
    scores = [
        fbeta_score(targets[rows], chosen[rows], beta=2.0, average=average, zero_division=0)
        for rows in draw_rows(60, groups, 100)
    ]
    low, high = np.quantile(scores, [0.05, 0.95]) - np.mean(scores) + Goal(2.0, average).score(chosen, targets)
    goal = Goal(2.0, average)
    ends = interval(chosen, targets, goal, groups=groups, level=0.9, num_draws=100)
    assert ends == pytest.approx((low, high), abs=1e-9)
    wider = interval(chosen, targets, goal, groups=groups, level=0.9, num_draws=100, other_rows=20)
    middle = goal.score(chosen, targets)
    assert wider[0] == pytest.approx(max(0, middle + (low - middle) * 2)) and wider[1] > high


@pytest.mark.parametrize("average", AVERAGES)
def test_an_interval_without_groups_draws_single_rows_and_stays_within_0_and_1(average):
    probs, targets = make(1, num_samples=50)
    goal, chosen = Goal(1.0, average), probs > 0.4
    scores = [
        fbeta_score(targets[rows], chosen[rows], beta=1.0, average=average, zero_division=0)
        for rows in draw_rows(50, None, 80)
    ]
    ends = np.quantile(scores, [0.025, 0.975]) - np.mean(scores) + goal.score(chosen, targets)
    assert interval(chosen, targets, goal, num_draws=80) == pytest.approx(tuple(ends), abs=1e-9)
    widest = interval(chosen, targets, goal, num_draws=80, other_rows=1)
    assert widest[0] >= 0 and widest[1] <= 1 and widest[0] < ends[0] and widest[1] > ends[1]
    perfect = np.ones_like(targets)
    assert interval(perfect > 0, perfect, goal, num_draws=20, other_rows=2) == pytest.approx((1, 1))
    assert interval(perfect < 0, perfect, goal, num_draws=20, other_rows=2) == (0, 0)


def test_draws_are_repeated_by_their_seed_and_groups_may_be_names():
    names = np.array(["b", "a", "c", "a", "b", "b"])
    first, again, other = ([rows.tolist() for rows in draw_rows(6, names, 20, seed=seed)] for seed in (3, 3, 4))
    assert first == again != other
    assert all(rows.count(1) == rows.count(3) and rows.count(0) == rows.count(4) == rows.count(5) for rows in first)
    assert {row for rows in first for row in rows} == set(range(6))


def test_threshold_intervals_are_quantiles():
    rules = iter([0.1, 0.3, 0.2])
    intervals = threshold_intervals(
        lambda rows: Thresholds(thresholds=(next(rules), 0.5)), draw_rows(4, None, 3), level=0.5
    )
    np.testing.assert_allclose(intervals, [[0.15, 0.25], [0.5, 0.5]])


def test_on_real_predictions_shrinking_helps_and_the_interval_holds_the_other_halfs_score():
    probs, targets, patients = chexnet()
    names, member = np.unique(patients, return_inverse=True)
    plan = RuleConfig(kind="class_thresholds", beta=1.0, average="macro", min_labels=0)
    plain = fitter_of(Recipe(rule=plan), ("",) * 14)
    shrunk = fitter_of(Recipe(rule=RuleConfig(**{**vars(plan), "shrink_to": "shares"})), ("",) * 14)
    gains, held = [], 0
    for seed in range(4):
        half = (np.random.default_rng(seed).permutation(len(names)) < len(names) // 2)[member]
        seen, truth, folds = probs[half], targets[half], member[half] % 5
        scores = [
            fitter.goal.score(fitter.fit(seen, truth).apply(probs[~half]), targets[~half]) for fitter in (plain, shrunk)
        ]
        gains.append(scores[1] - scores[0])
        answers, _ = cross_fit(lambda rows, o=seen, t=truth: shrunk.fit(o[rows], t[rows]), seen, folds)
        options = {"groups": patients[half], "other_rows": int((~half).sum()), "num_draws": 100}
        low, high = interval(answers, truth, shrunk.goal, **options)
        held += low <= scores[1] <= high
    assert np.mean(gains) > 0 and held >= 3


def test_samples_without_a_score_are_left_out_of_an_interval():
    """One of five rows is positive: a sample without it has no score."""
    targets = np.array([0, 1, 0, 0, 0])
    bounds = score_interval(lambda rows: np.nan if not targets[rows].any() else 0.25, 5, low=0, high=1)
    assert bounds == (0.25, 0.25)
    assert score_interval(lambda rows: np.nan, 5, low=0, high=1) == (0, 1), "it lies anywhere"
