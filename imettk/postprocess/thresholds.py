"""Thresholds with the highest F-beta: exact where labels do not depend on each other, else coordinate ascent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.postprocess.ascent import ascend
from imettk.postprocess.curves import fit_macro, fit_micro
from imettk.postprocess.goal import Goal, best_change
from imettk.postprocess.rule import Rule, limit_labels, relative_to_row, top_labels
from imettk.postprocess.sweep import ABOVE_ALL, Best, best_threshold, true_counts, units_of


def fit_thresholds(
    probs: np.ndarray,
    targets: np.ndarray,
    goal: Goal,
    *,
    groups: np.ndarray | None = None,
    relative: bool = False,
    tell: Callable[[int], object] = lambda count: None,
) -> Rule:
    """The rule with the thresholds that score best.

    One threshold for all labels is the exact optimum, with every average and any limits. Of several, those for macro
    and micro without limits are the exact optimum too. With limits, or averaged over samples, labels depend on each
    other: each threshold in turn is set to its exact optimum while the others stay, until none moves (coordinate
    ascent, from the best single threshold on).

    Args:
        probs: float (N, C).
        targets: uint8 (N, C).
        groups: of each label, int64 (C,), 0 to G - 1; a threshold is fitted for each. None is one for all.
        relative: thresholds on probabilities divided by the largest of their row.
        tell: called with 1 after each step of the ascent.
    """
    scale = relative_to_row(probs) if relative else probs
    groups = np.zeros(probs.shape[1], np.int64) if groups is None else groups
    limited = goal.min_labels > 0 or goal.max_labels is not None
    if groups.max(initial=0) == 0:
        thresholds = np.full(probs.shape[1], _fit_one(probs, scale, targets, goal).threshold)
    elif not limited and goal.average == "micro":
        thresholds = fit_micro(scale, targets, groups, beta=goal.beta)[groups]
    elif not limited and goal.average == "macro":
        thresholds = _fit_macro_groups(scale, targets, groups, goal)
    else:
        thresholds = ascend(probs, scale, targets, groups, goal, start=_fit_one(probs, scale, targets, goal), tell=tell)
    return Rule(
        "threshold",
        tuple(thresholds.tolist()),
        relative=relative,
        min_labels=goal.min_labels,
        max_labels=goal.max_labels,
    )


def fit_top(probs: np.ndarray, targets: np.ndarray, goal: Goal, *, most: int = 20) -> Rule:
    """The rule that gives each row the same number of most likely labels, the number that scores best."""
    none, counts = np.zeros(probs.shape, bool), range(1, min(most, probs.shape[1]) + 1)
    scores = [goal.score(limit_labels(none.copy(), probs, min_labels=k, max_labels=k), targets) for k in counts]
    best = int(np.argmax(scores)) + 1
    return Rule("threshold", (ABOVE_ALL,) * probs.shape[1], min_labels=best, max_labels=best)


def _fit_macro_groups(scale: np.ndarray, targets: np.ndarray, groups: np.ndarray, goal: Goal) -> np.ndarray:
    if len(np.unique(groups)) == len(groups):
        return fit_macro(scale, targets, beta=goal.beta)
    thresholds = np.empty(len(groups))
    for group in range(groups.max() + 1):  # a mean over labels: groups do not depend on each other
        member = groups == group
        best = best_threshold(scale[:, member], targets[:, member], beta=goal.beta, average="macro")
        thresholds[member] = best.threshold
    return thresholds


def _fit_one(probs: np.ndarray, scale: np.ndarray, targets: np.ndarray, goal: Goal) -> Best:
    """One threshold for all: what a limit forces or forbids does not depend on it, and is set before."""
    start = true_counts(targets, goal.average)
    forced = _pairs(top_labels(probs, goal.min_labels), probs.shape[1])
    if len(forced):
        start = start.add(units_of(forced, probs.shape[1], goal.average), targets.reshape(-1)[forced] != 0)
    if goal.max_labels is None:
        beta, average = goal.beta, goal.average
        return best_threshold(scale, targets, beta=beta, average=average, start=start, taken=forced)
    allowed = _pairs(top_labels(probs, goal.max_labels), probs.shape[1])
    pairs = allowed[~np.isin(allowed, forced)]
    values = np.ascontiguousarray(scale).reshape(-1)[pairs]
    # Equal probabilities of a row stand in the order in which a limit takes them.
    order = np.argsort(-values, kind="stable")
    return best_change(pairs[order], np.ones(len(pairs), np.int64), values[order], start, targets, goal)


def _pairs(labels: np.ndarray, num_labels: int) -> np.ndarray:
    """Positions in the flattened matrix of some labels of each row (N, K), int64 (N * K,)."""
    return (labels + np.arange(len(labels))[:, None] * num_labels).reshape(-1)
