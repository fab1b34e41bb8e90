"""What the nearest labelled images say: their labels in place of an answer, and labels that are probably wrong.

Neighbours are found elsewhere: rows int64, cosine similarities float32, best first; -1 and -inf where there are fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from imettk.metrics.labels import count_labels
from imettk.postprocess.thresholds.goal import Goal, best_change
from imettk.postprocess.thresholds.sweep import ABOVE_ALL, TOLERANCE, Best, Counts
from imettk.tasks import Task

NEVER = float("inf")  # a threshold at which nothing is replaced
GRID = tuple(round(0.60 + 0.01 * step, 2) for step in range(21))  # what first place in HPA 2018 looked at
# Powers of similarities: of all tried, these found most planted errors in digits, made clusters and HPA's label sets.
WEIGHT_POWER, NEAR_POWER = 8, 4
CHUNK = 512  # rows whose neighbours are compared in one go


def standardise(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Features less the mean of each column, divided by its standard deviation, float32 (N, D), before a cosine.

    Args:
        features: float (N, D).
        reference: where mean and deviation come from, float (M, D); rows that are not finite are left out. A column in
            which it is constant becomes 0.
    """
    known = reference[np.isfinite(reference).all(1)]
    mean, deviation = known.mean(0, dtype=np.float64), known.std(0, dtype=np.float64)
    # Not by the deviation: of equal float64 it can be 1e-17, and a division by that makes numbers of nothing.
    varies = known.min(0) < known.max(0)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    return ((features - mean) * scale).astype(np.float32)


def replace_labels(
    answers: np.ndarray,
    rows: np.ndarray,
    similarities: np.ndarray,
    neighbour_targets: np.ndarray,
    *,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The whole label set of the nearest neighbour in place of an answer, where that is near (HPA 2018, first place).

    Args:
        answers: bool (N, C).
        rows: the nearest neighbour, int64 (N,), -1 for none.
        similarities: float (N,).
        neighbour_targets: (G, C); a neighbour without labels replaces nothing.
        threshold: at or above it a neighbour is near.

    Returns:
        New answers, bool (N, C), and which were replaced, bool (N,), also by labels that are the same.
    """
    replaced = _usable(rows, similarities, neighbour_targets) & (similarities >= threshold)
    changed = answers.astype(bool)
    changed[replaced] = neighbour_targets[rows[replaced]] != 0
    return changed, replaced


def _usable(rows: np.ndarray, similarities: np.ndarray, neighbour_targets: np.ndarray) -> np.ndarray:
    """Where there is a neighbour, with labels, bool (N,)."""
    usable = (rows >= 0) & np.isfinite(similarities)
    usable[usable] = (neighbour_targets != 0).any(1)[rows[usable]]
    return usable


class Scanned(NamedTuple):
    """What a threshold does.

    Attributes:
        replaced: rows that have a near neighbour.
        changed: those whose answer is another one now.
        right_before, right_after: replaced rows whose answer was, or is now, the truth to the last label.
    """

    threshold: float
    score: float
    replaced: int
    changed: int
    right_before: int
    right_after: int


def scan_thresholds(
    answers: np.ndarray,
    targets: np.ndarray,
    rows: np.ndarray,
    similarities: np.ndarray,
    neighbour_targets: np.ndarray,
    score: Callable[[np.ndarray, np.ndarray], float],
    *,
    thresholds: Sequence[float] = GRID,
) -> tuple[list[Scanned], float]:
    """What each threshold of `replace_labels` does, and which is best.

    Args:
        targets: the truth, (N, C).
        score: of answers, bool (N, C), and the truth; higher is better.

    Returns:
        `NEVER` and then the thresholds as given, and the best of all: the highest of equal ones, so `NEVER` where no
        score is above that of the answers as they are.
    """
    truth, scanned = targets != 0, []
    right = (answers == truth).all(1)
    for threshold in (NEVER, *thresholds):
        after, replaced = replace_labels(answers, rows, similarities, neighbour_targets, threshold=threshold)
        now_right = (after[replaced] == truth[replaced]).all(1)
        changed = (after[replaced] != answers[replaced]).any(1)
        counts = (int(np.count_nonzero(each)) for each in (replaced, changed, right[replaced], now_right))
        scanned.append(Scanned(threshold, float(score(after, targets)), *counts))
    best = scanned[0]
    for each in sorted(scanned, key=lambda each: -each.threshold):
        best = each if each.score > best.score + TOLERANCE else best
    return scanned, best.threshold


def best_threshold(
    answers: np.ndarray,
    targets: np.ndarray,
    rows: np.ndarray,
    similarities: np.ndarray,
    neighbour_targets: np.ndarray,
    goal: Goal,
) -> Best:
    """The threshold of `replace_labels` with the highest F-beta of all thresholds there are, and that score.

    Arguments as of `scan_thresholds`; of `goal` the limits on labels do not count. `NEVER` where none gains.
    """
    near = np.flatnonzero(_usable(rows, similarities, neighbour_targets))
    near = near[np.argsort(-similarities[near], kind="stable")]
    change = (neighbour_targets[rows[near]] != 0).astype(np.int8) - (answers[near] != 0)
    place, label = np.nonzero(change)
    pairs, values = near[place] * targets.shape[1] + label, similarities[near[place]]
    start = Counts(*count_labels(answers, targets, average=goal.average))
    best = best_change(pairs, change[place, label], values, start, targets, goal)
    return Best(NEVER, best.score) if best.threshold == ABOVE_ALL else best


def cross_fit_threshold(
    fit: Callable[[np.ndarray], float],
    answers: np.ndarray,
    rows: np.ndarray,
    similarities: np.ndarray,
    neighbour_targets: np.ndarray,
    folds: np.ndarray,
) -> tuple[np.ndarray, dict[int, float]]:
    """Answers for each fold by a threshold that was found on the others: their score is an honest one.

    Args:
        fit: a threshold from some rows, int64 (M,).
        folds: int64 (N,), two or more different ones.

    Returns:
        Answers, bool (N, C), and the threshold of each fold.
    """
    after, thresholds = answers.astype(bool), {}
    for fold in np.unique(folds).tolist():
        thresholds[fold] = fit(np.flatnonzero(folds != fold))
        mine = folds == fold
        after[mine], _ = replace_labels(
            answers[mine], rows[mine], similarities[mine], neighbour_targets, threshold=thresholds[fold]
        )
    return after, thresholds


class Conflicts(NamedTuple):
    """Rows whose label is probably wrong, the most suspicious first; (M,) each, columns of a table.

    Attributes:
        row: int64.
        suspicion: how much better other labels would fit its neighbours, and how near these are, in (0, 1].
        disagreement: 1 less the Jaccard index of its labels and its neighbours', their weighted mean, in (0, 1].
        nearest: the nearest neighbour with other labels, int64.
        similarity: how near that is.
        suggestion: the neighbour whose labels fit the neighbours best, int64.
    """

    row: np.ndarray
    suspicion: np.ndarray
    disagreement: np.ndarray
    nearest: np.ndarray
    similarity: np.ndarray
    suggestion: np.ndarray


def label_conflicts(
    rows: np.ndarray, similarities: np.ndarray, targets: np.ndarray, *, task: Task, num: int = 100
) -> Conflicts:
    """Probable label errors: rows whose near neighbours agree on other labels than theirs.

    Neighbours vote with similarity^8. A row's suspicion is the share of the vote that the best of its neighbours' label
    sets gets, less its own set's, times the nearest neighbour's similarity^4; for label sets a vote counts as the
    Jaccard index says. That neighbours disagree is not enough: around a rare class they also disagree with each other.

    Args:
        rows: neighbours of each row, without itself, int64 (N, k).
        similarities: float (N, k).
        targets: as the task has them; a row that cannot be learned neither votes nor is suspected.
        num: how many are listed at most; rows that no other label set suits better never are.
    """
    votes = np.where((rows >= 0) & (similarities > 0), similarities, 0.0).astype(np.float64)
    silent = ~task.learnable(targets)
    votes[silent[rows] | silent[:, None]] = 0
    parts = [
        _suspect(np.arange(first, min(first + CHUNK, len(rows))), rows, votes, targets, task)
        for first in range(0, len(rows), CHUNK)
    ]
    if not parts:
        return Conflicts(*(np.zeros(0, np.int64 if whole else np.float64) for whole in (1, 0, 0, 1, 0, 1)))
    every = Conflicts(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    order = np.argsort(-every.suspicion, kind="stable")
    order = order[every.suspicion[order] > TOLERANCE][:num]
    return Conflicts(*(column[order] for column in every))


def _suspect(some: np.ndarray, rows: np.ndarray, votes: np.ndarray, targets: np.ndarray, task: Task) -> Conflicts:
    """All of some rows, int64 (M,), in their order."""
    near, similarity = rows[some], votes[some]
    weights = similarity**WEIGHT_POWER
    weights /= np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    own = task.agreement(targets[some][:, None], targets[near])[:, 0]
    fit_own = (weights * own).sum(1)
    fit = np.einsum("mj,mkj->mk", weights, task.agreement(targets[near], targets[near]))
    fit = np.where(weights > 0, fit, -1)
    best, every = fit.argmax(1), np.arange(len(some))
    others = np.where(own < 1, similarity, 0)
    nearest = others.argmax(1)
    return Conflicts(
        some,
        (fit[every, best] - fit_own) * similarity.max(1) ** NEAR_POWER,
        1 - fit_own,
        near[every, nearest],
        others[every, nearest],
        near[every, best],
    )
