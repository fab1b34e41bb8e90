"""Hits and chosen labels at every useful threshold of each label (or group), and the best thresholds by them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imettk.metrics.labels import f_beta_from_counts
from imettk.postprocess.thresholds.sorting import falling_order, rising_order
from imettk.postprocess.thresholds.sweep import ABOVE_ALL, best_threshold, pairs_between

SAMPLE_ROWS = 4096  # of large tables, for guesses of levels
MAX_ROUNDS = 100  # of Dinkelbach's iteration, which takes 4 or 5


class Points(NamedTuple):
    """Thresholds of groups of labels, group by group, each from high to low; M in all.

    Attributes:
        group: int64 (M,).
        value: the lowest chosen probability, (M,).
        lower: a threshold that chooses the same labels, halfway to the next probability, float64 (M,).
        hits, chosen: number of labels at or above it, int64 (M,).
    """

    group: np.ndarray
    value: np.ndarray
    lower: np.ndarray
    hits: np.ndarray
    chosen: np.ndarray


def fit_macro(probs: np.ndarray, targets: np.ndarray, *, beta: float) -> np.ndarray:
    """Return the threshold of each label with its highest F-beta, float64 (C,): the exact optimum of the mean.

    Args:
        probs: float (N, C).
        targets: uint8 or bool (N, C).
    """
    true = np.count_nonzero(targets, axis=0)
    thresholds = np.full(probs.shape[1], ABOVE_ALL)
    enough = np.where(true > 0, 8 * true + 64, 0)
    while enough.any():
        points = find_points(probs, targets, np.arange(probs.shape[1]), enough)
        scores = f_beta_from_counts(points.hits, points.chosen, true[points.group], beta=beta)
        best = _best_of_each(points.group, scores)
        label = points.group[best]
        thresholds[label] = points.lower[best]
        # Given this score, thresholds that choose more than `needed` labels cannot win even if they hit every true one.
        needed = np.floor((1 + beta**2) * true[label] / scores[best] - beta**2 * true[label]).astype(np.int64)
        enough[label] = np.where(needed > enough[label], needed, 0)
    return thresholds


def fit_micro(probs: np.ndarray, targets: np.ndarray, groups: np.ndarray, *, beta: float) -> np.ndarray:
    """Return the thresholds of groups of labels with the highest micro F-beta, exact, by Dinkelbach's iteration.

    F = (1 + b^2) hits / (chosen + b^2 true) is a ratio of sums over groups. For a score s, each group maximises
    (1 + b^2) hits - s chosen on its own; the ratio at that point is at least s, and when it stops growing it is the
    optimum (Dinkelbach 1967, "On Nonlinear Fractional Programming").

    Args:
        groups: group of each label, int64 (C,), 0 to G - 1.

    Returns:
        float64 (G,).
    """
    true = np.count_nonzero(targets, axis=0)
    of_group = np.bincount(groups, weights=true).astype(np.int64)
    thresholds = np.full(len(of_group), ABOVE_ALL)
    score = best_threshold(probs, targets, beta=beta, average="micro").score
    if score <= 0:
        return thresholds
    # Choosing more labels than this costs a group more than all its hits can gain.
    enough = np.ceil((1 + beta**2) * of_group / score).astype(np.int64) + 1
    points = find_points(probs, targets, groups, enough)
    for _ in range(MAX_ROUNDS):
        gains = (1 + beta**2) * points.hits - score * points.chosen
        best = _best_of_each(points.group, gains)
        best = best[gains[best] > 0]
        total = (1 + beta**2) * points.hits[best].sum() / (points.chosen[best].sum() + beta**2 * true.sum())
        if total <= score + 1e-13:
            break
        score = total
    thresholds[points.group[best]] = points.lower[best]
    return thresholds


def find_points(probs: np.ndarray, targets: np.ndarray, groups: np.ndarray, enough: np.ndarray) -> Points:
    """Return the thresholds of each group that choose up to `enough` (row, label) pairs, or at least its first hit.

    Args:
        groups: group of each label, int64 (C,), 0 to G - 1.
        enough: int64 (G,); groups with 0 are skipped.
    """
    first = np.full(len(enough), -1.0, probs.dtype)  # the highest hit of each group
    hit = np.flatnonzero(targets != 0)
    np.maximum.at(first, groups[hit % probs.shape[1]], np.ascontiguousarray(probs).reshape(-1)[hit])
    wanted = np.where(first >= 0, enough, 0)
    top = find_top(probs, groups, wanted, at_most=np.where(wanted > 0, first, np.inf))
    group, values, chosen = top.group, top.values, top.counts
    hits = targets.reshape(-1)[top.pairs] != 0
    ends = np.cumsum(chosen)
    starts = ends - chosen
    total = np.cumsum(hits)
    before = np.append(0, total)[starts]
    # Only the last of a run of equal probabilities is a threshold, and only a run with a hit can be the optimum.
    new_group = np.append(group[1:] != group[:-1], True)
    last = np.flatnonzero(np.append(values[1:] < values[:-1], True) | new_group)
    here = total[last]
    previous = np.append(0, here[:-1])
    last = last[here > previous]
    following = np.where(new_group[last], last, np.minimum(last + 1, len(values) - 1))
    middle = ((values[last].astype(np.float64) + values[following]) / 2).astype(values.dtype)
    middle = np.where(middle > values[following], middle, values[last])
    return Points(
        group[last], values[last], middle.astype(np.float64), total[last] - before[group[last]],
        last + 1 - starts[group[last]],
    )  # fmt: skip


class Top(NamedTuple):
    """The likeliest (row, label) pairs of each group of labels, group by group, each from high to low.

    Attributes:
        pairs: positions in the flattened matrix, int64 (M,).
        group: int64 (M,).
        values: (M,).
        counts: number of pairs of each group, int64 (G,).
    """

    pairs: np.ndarray
    group: np.ndarray
    values: np.ndarray
    counts: np.ndarray


def find_top(probs: np.ndarray, groups: np.ndarray, enough: np.ndarray, *, at_most: np.ndarray | None = None) -> Top:
    """Return at least `enough` pairs of each group, or all that it has; ties are kept together.

    A sample of the rows suggests where to cut, and one pass over the matrix finds what lies above, in a fraction of the
    time of sorting it.

    Args:
        groups: group of each label, int64 (C,), 0 to G - 1.
        enough: int64 (G,); a group with 0 gets none.
        at_most: highest allowed cut of each group, (G,).
    """
    probs = np.ascontiguousarray(probs)
    low = np.where(enough > 0, _guess_levels(probs, groups, enough), np.inf).astype(probs.dtype)
    if at_most is not None:
        low = np.minimum(low, at_most.astype(probs.dtype))
    most = np.minimum(enough, len(probs) * np.bincount(groups, minlength=len(enough)))
    while True:
        pairs = pairs_between(probs, low[groups])
        group = groups[pairs % probs.shape[1]]
        counts = np.bincount(group, minlength=len(enough))
        short = counts < most
        if not short.any():
            break
        low[short] = np.where(low[short] > 1e-6, low[short] / 4, -np.inf)  # guessed too high
    values = probs.reshape(-1)[pairs]
    order = falling_order(values)
    order = order[rising_order(group[order])]
    return Top(pairs[order], group[order], values[order], counts)


def _guess_levels(probs: np.ndarray, groups: np.ndarray, enough: np.ndarray) -> np.ndarray:
    """Return a level for each group with about a quarter more pairs above it than `enough`, float (G,)."""
    stride = max(1, len(probs) // SAMPLE_ROWS)
    sample = np.sort(probs[::stride].T.copy(), axis=1)[:, ::-1]
    low = np.full(len(enough), -np.inf)
    by_group = np.argsort(groups, kind="stable")
    bounds = np.searchsorted(groups[by_group], np.arange(len(enough) + 1))
    for group in np.flatnonzero(enough):
        member = by_group[bounds[group] : bounds[group + 1]]
        values = sample[member[0]] if len(member) == 1 else np.sort(sample[member].reshape(-1))[::-1]
        place = 2 + (enough[group] * 5 // 4) // stride
        if place < len(values):
            low[group] = values[place]
    return low


def _best_of_each(group: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the first place of each group's highest score, int64, for groups that have points."""
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1])[: len(group)])
    highest = np.maximum.reduceat(scores, starts) if len(starts) else scores
    place = np.flatnonzero(scores == np.repeat(highest, np.diff(np.append(starts, len(group)))))
    first = np.unique(group[place], return_index=True)[1]
    return place[first]
