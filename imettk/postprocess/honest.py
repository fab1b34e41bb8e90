"""Honest scores of fitted thresholds: on rows not used for the fit, with shrinkage chosen that way, and intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from imettk.postprocess.rule import Rule, Thresholds
from imettk.postprocess.thresholds.goal import Goal
from imettk.postprocess.thresholds.sweep import ABOVE_ALL

STRENGTHS = (0.0, 5.0, 20.0, 50.0, 100.0, 200.0, 500.0, 2000.0)  # in rows that have the label
EDGE = 1e-6  # probabilities are clipped to [EDGE, 1 - EDGE] before their logit


def cross_fit(
    fit: Callable[[np.ndarray], Rule], probs: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, dict[int, Rule]]:
    """Answer each fold by a rule fitted on the others; return the answers, first axis N, and the rule of each fold.

    Args:
        fit: (rows int64 (M,)) -> a rule fitted on them.
        folds: int64 (N,), at least two different ones.
    """
    rules, parts, order = {}, [], []
    for fold in np.unique(folds).tolist():
        rules[fold] = fit(np.flatnonzero(folds != fold))
        order.append(np.flatnonzero(folds == fold))
        parts.append(rules[fold].apply(probs[order[-1]]))
    answers = np.concatenate(parts)
    answers[np.concatenate(order)] = answers.copy()  # back to the order of the rows
    return answers, rules


def shrink(fitted: Thresholds, toward: Thresholds, true: np.ndarray, strength: float) -> Thresholds:
    """Pull each label's threshold toward another one on the logit scale, more strongly for rarer labels.

    The label's own threshold has weight true / (true + strength): with `strength` rows it moves halfway. A label that
    either rule never chooses keeps its own threshold.

    Args:
        fitted: a rule with a threshold fitted for each label.
        toward: a rule fitted on more data: all labels, a group of labels, or the label's share of rows.
        true: number of rows with each label, int (C,).
    """
    thresholds, targets = np.array(fitted.thresholds), np.array(toward.thresholds)
    weight = true / np.maximum(true + strength, 1e-12)
    pulled = _sigmoid(weight * _logit(thresholds) + (1 - weight) * _logit(targets))
    keep = (thresholds >= ABOVE_ALL) | (targets >= ABOVE_ALL) | (weight >= 1)
    return replace(fitted, thresholds=tuple(np.where(keep, thresholds, pulled).tolist()))


def choose_strength(
    fit_each: Callable[[np.ndarray], Thresholds],
    fit_toward: Callable[[np.ndarray], Thresholds],
    probs: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    goal: Goal,
) -> tuple[float, dict[float, float]]:
    """Return the strength of `shrink` chosen by its score on unseen rows, and the score of each strength.

    The choice is the strongest that is within one standard error of the best (Breiman et al. 1984, for trees), because
    the best is often best by chance. The standard error of the difference is a jackknife estimate over folds. With a
    single fold no rows are unseen, and the strongest of all is chosen.
    """
    if len(np.unique(folds)) < 2:
        return STRENGTHS[-1], {}
    answers = {strength: np.zeros(probs.shape, bool) for strength in STRENGTHS}
    names = np.unique(folds)
    for fold in names:
        others, rows = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        fitted, toward, true = fit_each(others), fit_toward(others), np.count_nonzero(targets[others], axis=0)
        for strength, chosen in answers.items():
            chosen[rows] = shrink(fitted, toward, true, strength).apply(probs[rows])
    scores = {strength: goal.score(chosen, targets) for strength, chosen in answers.items()}
    best = max(scores, key=scores.__getitem__)
    without = np.array(
        [[goal.score(chosen[folds != fold], targets[folds != fold]) for chosen in answers.values()] for fold in names]
    )
    differences = without - without[:, [STRENGTHS.index(best)]]
    errors = np.sqrt((len(names) - 1) / len(names) * ((differences - differences.mean(0)) ** 2).sum(0))
    near = [
        strength for strength, error in zip(STRENGTHS, errors, strict=True) if scores[strength] >= scores[best] - error
    ]
    return max(near), scores


def _logit(values: np.ndarray) -> np.ndarray:
    kept = np.clip(values, EDGE, 1 - EDGE)
    return np.asarray(np.log(kept / (1 - kept)))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-values)))


def draw_rows(num_rows: int, groups: np.ndarray | None, num_draws: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield bootstrap samples (Efron 1979), int64 (M,) each: rows, or whole groups, drawn with replacement."""
    rng = np.random.default_rng(seed)
    if groups is None:
        for _ in range(num_draws):
            yield rng.integers(0, num_rows, num_rows)
        return
    member = np.unique(groups, return_inverse=True)[1]
    by_group = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    for _ in range(num_draws):
        yield np.concatenate([by_group[group] for group in rng.integers(0, len(by_group), len(by_group))])


def score_interval(
    score_of: Callable[[np.ndarray], float],
    num_rows: int,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    groups: np.ndarray | None = None,
    other_rows: int | None = None,
    level: float = 0.95,
    num_draws: int = 400,
) -> tuple[float, float]:
    """Return an interval for a score from bootstrap samples of the rows.

    Args:
        score_of: (rows, with repeats, int64 (M,)) -> their score; NaN if they have none, for example no positive row.
        low, high: bounds of the score.
        groups: rows of a group are drawn together, any dtype (N,).
        other_rows: predict the score of a new set of this size, such as a public leaderboard or another fold, instead
            of the score on the whole population. The new set has sampling error too, so the interval is wider.
        level: the share of such intervals that contain the score.

    Returns:
        Lowest and highest score, over the samples that have one; `low` and `high` if none has.
    """
    scores = np.array([score_of(rows) for rows in draw_rows(num_rows, groups, num_draws)])
    score, scores = score_of(np.arange(num_rows)), scores[~np.isnan(scores)]
    if not len(scores):
        return low, high
    wider = np.sqrt(1 + num_rows / other_rows) if other_rows else 1.0  # variances of both sets add up
    lowest, highest = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2]) - np.mean(scores)
    return float(max(low, score + lowest * wider)), float(min(high, score + highest * wider))


def threshold_intervals(
    fit: Callable[[np.ndarray], Thresholds], samples: Iterable[np.ndarray], *, level: float = 0.95
) -> np.ndarray:
    """Return the lowest and highest threshold of each label over fits on bootstrap samples, float64 (C, 2)."""
    thresholds = np.array([fit(rows).thresholds for rows in samples])
    return np.asarray(np.quantile(thresholds, [(1 - level) / 2, (1 + level) / 2], axis=0).T)
