"""Thresholds with the highest F-beta: exact where labels do not depend on each other, else coordinate ascent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.postprocess.rule import Thresholds, limit_labels, top_labels
from imettk.postprocess.thresholds.ascent import ascend
from imettk.postprocess.thresholds.candidates import Candidates, find_candidates
from imettk.postprocess.thresholds.curves import fit_macro, fit_micro
from imettk.postprocess.thresholds.goal import Goal, best_change
from imettk.postprocess.thresholds.sorting import falling_order
from imettk.postprocess.thresholds.sweep import ABOVE_ALL, Best, best_threshold, units_of


def fit_thresholds(
    probs: np.ndarray,
    targets: np.ndarray,
    goal: Goal,
    *,
    groups: np.ndarray | None = None,
    relative: bool = False,
    tell: Callable[[int], object] = lambda count: None,
) -> Thresholds:
    """The rule with the thresholds that score best on these rows.

    Args:
        probs: float (N, C).
        targets: uint8 (N, C).
        groups: of each label, int64 (C,), 0 to G - 1; a threshold is fitted for each. None is one for all.
        relative: thresholds on probabilities divided by the largest of their row.
        tell: called with 1 after each step of the ascent.
    """
    return fit_candidates(find_candidates(probs, targets, goal, groups=groups, relative=relative), goal, tell=tell)


def fit_candidates(found: Candidates, goal: Goal, *, tell: Callable[[int], object] = lambda count: None) -> Thresholds:
    """The rule with the thresholds that score best on these candidates, found once for many fits to some of the rows.

    One threshold for all labels is the exact optimum, with every average and any limits. Of several, those for macro
    and micro without limits are the exact optimum too. With limits, or averaged over samples, labels depend on each
    other: each threshold in turn is set to its exact optimum while the others stay, until none moves (coordinate
    ascent, from the best single threshold on).
    """
    groups, limited = found.groups, goal.min_labels > 0 or goal.max_labels is not None
    if groups.max(initial=0) == 0:
        thresholds = np.array([_fit_one(found, goal).threshold])
    elif not limited and goal.average == "micro":
        thresholds = fit_micro(found.scale, found.targets, groups, beta=goal.beta)
    elif not limited and goal.average == "macro":
        thresholds = _fit_macro_groups(found, goal)
    else:
        thresholds = ascend(found, goal, start=_fit_one(found, goal), tell=tell)
    return Thresholds(
        thresholds=tuple(thresholds[found.groups_of_labels].tolist()),
        relative=found.relative,
        min_labels=goal.min_labels,
        max_labels=goal.max_labels,
    )


def fit_top(probs: np.ndarray, targets: np.ndarray, goal: Goal, *, most: int = 20) -> Thresholds:
    """The rule that gives each row the same number of most likely labels, the number that scores best."""
    none, counts = np.zeros(probs.shape, bool), range(1, min(most, probs.shape[1]) + 1)
    scores = [goal.score(limit_labels(none.copy(), probs, min_labels=k, max_labels=k), targets) for k in counts]
    best = int(np.argmax(scores)) + 1
    return Thresholds(thresholds=(ABOVE_ALL,) * probs.shape[1], min_labels=best, max_labels=best)


def _fit_macro_groups(found: Candidates, goal: Goal) -> np.ndarray:
    groups, thresholds = found.groups, np.empty(found.groups.max() + 1)
    if len(thresholds) == len(groups):
        thresholds[groups] = fit_macro(found.scale, found.targets, beta=goal.beta)
        return thresholds
    for group in range(len(thresholds)):  # a mean over labels: groups do not depend on each other
        member = groups == group
        best = best_threshold(found.scale[:, member], found.targets[:, member], beta=goal.beta, average="macro")
        thresholds[group] = best.threshold
    return thresholds


def _fit_one(found: Candidates, goal: Goal) -> Best:
    """One threshold for all: what a limit forces or forbids does not depend on it, and is set before."""
    num_columns, start = found.probs.shape[1], found.counts(goal)
    tops = top_labels(found.probs, goal.min_labels if goal.max_labels is None else goal.max_labels)
    forced, allowed = _pairs(tops[:, : goal.min_labels], num_columns), _pairs(tops[:, goal.min_labels :], num_columns)
    if len(forced):
        start = start.add(units_of(forced, num_columns, goal.average), found.targets.reshape(-1)[forced] != 0)
    if goal.max_labels is None:
        beta, average = goal.beta, goal.average
        return best_threshold(found.scale, found.targets, beta=beta, average=average, start=start, taken=forced)
    values = np.ascontiguousarray(found.scale).reshape(-1)[allowed]
    # Equal probabilities of a row stand in the order in which a limit takes them.
    order = falling_order(values)
    return best_change(allowed[order], np.ones(len(order), np.int64), values[order], start, found.targets, goal)


def _pairs(labels: np.ndarray, num_columns: int) -> np.ndarray:
    """Positions in the flattened matrix of some columns of each row (N, K), int64 (N * K,)."""
    return (labels + np.arange(len(labels))[:, None] * num_columns).reshape(-1)
