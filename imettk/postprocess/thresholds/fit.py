"""Thresholds with the highest F-beta: exact if labels are independent of each other, otherwise by coordinate ascent."""

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
    """Return the rule whose thresholds score best on these rows.

    Args:
        probs: float (N, C).
        targets: uint8 (N, C).
        groups: group of each label, int64 (C,), 0 to G - 1; each group gets a threshold. None for a single group.
        relative: thresholds apply to probabilities divided by the largest of their row.
        tell: called with 1 after each step of the ascent.
    """
    return fit_candidates(find_candidates(probs, targets, goal, groups=groups, relative=relative), goal, tell=tell)


def fit_candidates(
    candidates: Candidates, goal: Goal, *, tell: Callable[[int], object] = lambda count: None
) -> Thresholds:
    """Return the rule whose thresholds score best on candidates, which many fits to subsets of rows can share.

    A single threshold for all labels is always the exact optimum. Several thresholds are exact for macro and micro
    averages without limits. With limits, or averaged over samples, labels depend on each other: from the best
    single threshold on, each one in turn is set to its exact optimum while the others stay, until none moves.
    """
    groups, limited = candidates.groups, goal.min_labels > 0 or goal.max_labels is not None
    if groups.max(initial=0) == 0:
        thresholds = np.array([_fit_one(candidates, goal).threshold])
    elif not limited and goal.average == "micro":
        thresholds = fit_micro(candidates.scale, candidates.targets, groups, beta=goal.beta)
    elif not limited and goal.average == "macro":
        thresholds = _fit_macro_groups(candidates, goal)
    else:
        thresholds = ascend(candidates, goal, start=_fit_one(candidates, goal), tell=tell)
    return Thresholds(
        thresholds=tuple(thresholds[candidates.groups_of_labels].tolist()),
        relative=candidates.relative,
        min_labels=goal.min_labels,
        max_labels=goal.max_labels,
    )


def fit_top(probs: np.ndarray, targets: np.ndarray, goal: Goal, *, most: int = 20) -> Thresholds:
    """Return the rule that gives each row the same number of likeliest labels, the number that scores best."""
    none, counts = np.zeros(probs.shape, bool), range(1, min(most, probs.shape[1]) + 1)
    scores = [goal.score(limit_labels(none.copy(), probs, min_labels=k, max_labels=k), targets) for k in counts]
    best = int(np.argmax(scores)) + 1
    return Thresholds(thresholds=(ABOVE_ALL,) * probs.shape[1], min_labels=best, max_labels=best)


def _fit_macro_groups(candidates: Candidates, goal: Goal) -> np.ndarray:
    groups, thresholds = candidates.groups, np.empty(candidates.groups.max() + 1)
    if len(thresholds) == len(groups):
        thresholds[groups] = fit_macro(candidates.scale, candidates.targets, beta=goal.beta)
        return thresholds
    for group in range(len(thresholds)):  # in a mean over labels, groups are independent of each other
        member = groups == group
        scale, targets = candidates.scale[:, member], candidates.targets[:, member]
        thresholds[group] = best_threshold(scale, targets, beta=goal.beta, average="macro").threshold
    return thresholds


def _fit_one(candidates: Candidates, goal: Goal) -> Best:
    """Fit one threshold for all labels; which labels a limit forces or forbids does not depend on it."""
    num_columns, start = candidates.probs.shape[1], candidates.counts(goal)
    tops = top_labels(candidates.probs, goal.min_labels if goal.max_labels is None else goal.max_labels)
    forced, allowed = _pairs(tops[:, : goal.min_labels], num_columns), _pairs(tops[:, goal.min_labels :], num_columns)
    if len(forced):
        start = start.add(units_of(forced, num_columns, goal.average), candidates.targets.reshape(-1)[forced] != 0)
    if goal.max_labels is None:
        return best_threshold(
            candidates.scale, candidates.targets, beta=goal.beta, average=goal.average, start=start, taken=forced
        )
    values = np.ascontiguousarray(candidates.scale).reshape(-1)[allowed]
    # Stable: equal probabilities of a row stay in the order in which a limit takes them.
    order = falling_order(values)
    return best_change(allowed[order], np.ones(len(order), np.int64), values[order], start, candidates.targets, goal)


def _pairs(labels: np.ndarray, num_columns: int) -> np.ndarray:
    """Return the positions in the flattened matrix of columns (N, K) of its rows, int64 (N * K,)."""
    return (labels + np.arange(len(labels))[:, None] * num_columns).reshape(-1)
