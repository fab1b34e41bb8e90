"""How far to trust thresholds: scores of rows that no threshold has seen, shrinkage chosen by them, intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from imettk.postprocess.rule import Rule, Thresholds
from imettk.postprocess.thresholds.goal import Goal
from imettk.postprocess.thresholds.sweep import ABOVE_ALL

STRENGTHS = (0.0, 5.0, 20.0, 50.0, 100.0, 200.0, 500.0, 2000.0)  # in rows that have the label
EDGE = 1e-6  # probabilities are kept away from 0 and 1, for their logit


def cross_fit(
    fit: Callable[[np.ndarray], Rule], probs: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, dict[int, Rule]]:
    """Answers for each fold by a rule that was fitted on the others, first axis N, and the rule of each fold.

    Args:
        fit: a rule from some rows, int64 (M,).
        folds: int64 (N,), two or more different ones.
    """
    rules, parts, order = {}, [], []
    for fold in np.unique(folds).tolist():
        rules[fold] = fit(np.flatnonzero(folds != fold))
        order.append(np.flatnonzero(folds == fold))
        parts.append(rules[fold].apply(probs[order[-1]]))
    answers = np.concatenate(parts)
    answers[np.concatenate(order)] = answers.copy()
    return answers, rules


def shrink(each: Thresholds, toward: Thresholds, true: np.ndarray, strength: float) -> Thresholds:
    """Thresholds of labels pulled toward others, the more the rarer the label, on the scale of logits.

    Weight true / (true + strength) is the label's own: with as many rows as `strength`, halfway. A label that is never
    chosen by one of the two keeps its own threshold.

    Args:
        each: with a threshold fitted for each label.
        toward: one fitted for more than that: for all labels, for a group, or to the label's share of rows.
        true: rows that have the label, int (C,).
    """
    own, other = np.array(each.thresholds), np.array(toward.thresholds)
    weight = true / np.maximum(true + strength, 1e-12)
    pulled = _sigmoid(weight * _logit(own) + (1 - weight) * _logit(other))
    keep = (own >= ABOVE_ALL) | (other >= ABOVE_ALL) | (weight >= 1)
    return replace(each, thresholds=tuple(np.where(keep, own, pulled).tolist()))


def choose_strength(
    fit_each: Callable[[np.ndarray], Thresholds],
    fit_toward: Callable[[np.ndarray], Thresholds],
    probs: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    goal: Goal,
) -> tuple[float, dict[float, float]]:
    """The strength of `shrink` by the score on rows that thresholds have not seen, and the score of each strength.

    The strongest one that is not worse than the best by more than a standard error of the difference (Breiman et al.
    1984, for trees): the best itself is often so by chance. The error is that of a jackknife over folds. With a single
    fold there are no such rows, and the strongest of all is taken.
    """
    if len(np.unique(folds)) < 2:
        return STRENGTHS[-1], {}
    answers = {strength: np.zeros(probs.shape, bool) for strength in STRENGTHS}
    names = np.unique(folds)
    for fold in names:
        others, rows = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        each, toward, true = fit_each(others), fit_toward(others), np.count_nonzero(targets[others], axis=0)
        for strength, chosen in answers.items():
            chosen[rows] = shrink(each, toward, true, strength).apply(probs[rows])
    scores = {strength: goal.score(chosen, targets) for strength, chosen in answers.items()}
    best = max(scores, key=scores.__getitem__)
    without = np.array(
        [[goal.score(each[folds != one], targets[folds != one]) for each in answers.values()] for one in names]
    )
    differences = without - without[:, [STRENGTHS.index(best)]]
    errors = np.sqrt((len(names) - 1) / len(names) * ((differences - differences.mean(0)) ** 2).sum(0))
    near = [
        strength for strength, error in zip(STRENGTHS, errors, strict=True) if scores[strength] >= scores[best] - error
    ]
    return max(near), scores


def _logit(values: np.ndarray) -> np.ndarray:
    kept = np.clip(values, EDGE, 1 - EDGE)
    return np.log(kept / (1 - kept))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def draw_rows(num_rows: int, groups: np.ndarray | None, num_draws: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Bootstrap samples (Efron 1979): rows drawn with replacement, whole groups if there are any, int64 (M,) each."""
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
    """Where a score lies, as bootstrap samples of the rows tell.

    Args:
        score_of: rows, with repeats, int64 (M,) -> their score; NaN where they have none, as without any true row.
        low, high: between which scores lie.
        groups: rows of a group are drawn together, any dtype (N,).
        other_rows: not the score of all rows there could be, but that of a new set with so many: of a public
            leaderboard, or another fold. It scatters as well, so the interval is wider.
        level: the share of such intervals that hold the score.

    Returns:
        Lowest and highest score, over the samples that have one; `low` and `high` where none has.
    """
    scores = np.array([score_of(rows) for rows in draw_rows(num_rows, groups, num_draws)])
    score, scores = score_of(np.arange(num_rows)), scores[~np.isnan(scores)]
    if not len(scores):
        return low, high
    wider = np.sqrt(1 + num_rows / other_rows) if other_rows else 1.0
    lowest, highest = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2]) - np.mean(scores)
    return float(max(low, score + lowest * wider)), float(min(high, score + highest * wider))


def threshold_intervals(
    fit: Callable[[np.ndarray], Thresholds], samples: Iterable[np.ndarray], *, level: float = 0.95
) -> np.ndarray:
    """Lowest and highest threshold of each label over rules fitted on bootstrap samples, float64 (C, 2)."""
    thresholds = np.array([fit(rows).thresholds for rows in samples])
    return np.quantile(thresholds, [(1 - level) / 2, (1 + level) / 2], axis=0).T
