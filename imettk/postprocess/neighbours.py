"""Labels of near neighbours: taken over as answers, and compared to find labels that are probably wrong.

Neighbours are passed in: rows int64 and cosine similarities float32, best first; -1 and -inf for missing ones.
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
GRID = tuple(round(0.60 + 0.01 * step, 2) for step in range(21))  # the grid of first place in HPA 2018
# Powers of similarities: of those tried, these found most planted errors in digits, synthetic clusters and HPA's
# labels.
WEIGHT_POWER, NEAR_POWER = 8, 4
CHUNK = 512  # rows compared at a time


def standardise(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return features minus each column's mean, divided by its standard deviation, float32 (N, D).

    Args:
        features: float (N, D).
        reference: rows that mean and deviation are computed from, float (M, D); rows that are not finite are left out.
            A column that is constant in it becomes 0.
    """
    known = reference[np.isfinite(reference).all(1)]
    mean, deviation = known.mean(0, dtype=np.float64), known.std(0, dtype=np.float64)
    # Not `deviation > 0`: for equal float64 numbers it can be 1e-17, and dividing by that would blow up rounding
    # errors.
    varies = known.min(0) < known.max(0)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    standardised: np.ndarray = (features - mean) * scale
    return standardised.astype(np.float32)


def replace_labels(
    answers: np.ndarray,
    rows: np.ndarray,
    similarities: np.ndarray,
    neighbour_targets: np.ndarray,
    *,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Replace answers by the label set of a near nearest neighbour (HPA 2018, first place).

    Args:
        answers: bool (N, C).
        rows: the nearest neighbour of each row, int64 (N,), -1 for none.
        similarities: similarity of that neighbour, float (N,).
        neighbour_targets: (G, C); a neighbour without labels replaces nothing.
        threshold: the lowest similarity of a near neighbour.

    Returns:
        New answers, bool (N, C), and which rows were replaced, bool (N,), including those replaced by equal labels.
    """
    replaced = _usable(rows, similarities, neighbour_targets) & (similarities >= threshold)
    changed = answers.astype(bool)
    changed[replaced] = neighbour_targets[rows[replaced]] != 0
    return changed, replaced


def _usable(rows: np.ndarray, similarities: np.ndarray, neighbour_targets: np.ndarray) -> np.ndarray:
    """Return which rows have a neighbour with labels, bool (N,)."""
    usable: np.ndarray = (rows >= 0) & np.isfinite(similarities)
    usable[usable] = (neighbour_targets != 0).any(1)[rows[usable]]
    return usable


class Scanned(NamedTuple):
    """The effect of a threshold of `replace_labels`.

    Attributes:
        replaced: number of rows with a near neighbour.
        changed: number of rows whose answer changed.
        right_before, right_after: replaced rows whose answer equalled the truth before, and after.
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
    """Return the effect of each threshold of `replace_labels`, and the best threshold.

    Args:
        targets: the truth, (N, C).
        score: (answers bool (N, C), truth) -> score, higher is better.

    Returns:
        The effect of `NEVER` and of the thresholds in the given order, and the best of all of them: the highest among
        equals, so `NEVER` if no threshold improves the score.
    """
    truth, scanned = targets != 0, []
    right = (answers == truth).all(1)
    for threshold in (NEVER, *thresholds):
        after, replaced = replace_labels(answers, rows, similarities, neighbour_targets, threshold=threshold)
        now_right = (after[replaced] == truth[replaced]).all(1)
        changed = (after[replaced] != answers[replaced]).any(1)
        counts = (int(np.count_nonzero(mask)) for mask in (replaced, changed, right[replaced], now_right))
        scanned.append(Scanned(threshold, float(score(after, targets)), *counts))
    best = scanned[0]
    for effect in sorted(scanned, key=lambda effect: -effect.threshold):
        best = effect if effect.score > best.score + TOLERANCE else best
    return scanned, best.threshold


def best_threshold(
    answers: np.ndarray,
    targets: np.ndarray,
    rows: np.ndarray,
    similarities: np.ndarray,
    neighbour_targets: np.ndarray,
    goal: Goal,
) -> Best:
    """Return the threshold of `replace_labels` with the highest F-beta of all possible thresholds, and that score.

    Arguments are those of `scan_thresholds`; the limits on labels in `goal` are ignored. `NEVER` if no threshold gains.
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
    """Replace the labels of each fold with a threshold fitted on the others, which makes the score honest.

    Args:
        fit: (rows int64 (M,)) -> a threshold fitted on them.
        folds: int64 (N,), at least two different ones.

    Returns:
        Answers, bool (N, C), and the threshold of each fold.
    """
    after, thresholds = answers.astype(bool), {}
    for fold in np.unique(folds).tolist():
        thresholds[fold] = fit(np.flatnonzero(folds != fold))
        held_out = folds == fold
        after[held_out], _ = replace_labels(
            answers[held_out],
            rows[held_out],
            similarities[held_out],
            neighbour_targets,
            threshold=thresholds[fold],
        )
    return after, thresholds


class Conflicts(NamedTuple):
    """Probably wrong labels, most suspicious first; columns of a table, (M,) each.

    Attributes:
        row: the row with the label, int64.
        suspicion: how much better other labels would fit its neighbours, times a power of their similarity, in (0, 1].
        disagreement: 1 - the weighted mean Jaccard index of its labels and its neighbours', in (0, 1].
        nearest: the nearest neighbour with other labels, int64.
        similarity: similarity of that neighbour.
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
    """Return probable label errors: rows whose near neighbours agree on other labels.

    Neighbours vote with weight similarity^8; for label sets a vote counts in proportion to the Jaccard index. A row's
    suspicion is the vote share of the best of its neighbours' label sets minus that of its own, times the nearest
    neighbour's similarity^4. Disagreement alone is not suspicious: around a rare class, neighbours also disagree with
    each other.

    Args:
        rows: neighbours of each row, excluding itself, int64 (N, k).
        similarities: float (N, k).
        targets: in the task's form; a row that cannot be learned neither votes nor is suspected.
        num: maximum number of rows to return; rows that no other label set fits better are never returned.
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
    conflicts = Conflicts(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    order = np.argsort(-conflicts.suspicion, kind="stable")
    order = order[conflicts.suspicion[order] > TOLERANCE][:num]
    return Conflicts(*(column[order] for column in conflicts))


def _suspect(chunk: np.ndarray, rows: np.ndarray, votes: np.ndarray, targets: np.ndarray, task: Task) -> Conflicts:
    """Return the conflicts of a chunk of rows, int64 (M,), in their order."""
    near, similarity = rows[chunk], votes[chunk]
    weights = similarity**WEIGHT_POWER
    weights /= np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    own_agreement = task.agreement(targets[chunk][:, None], targets[near])[:, 0]
    fit_own = (weights * own_agreement).sum(1)
    fit = np.einsum("mj,mkj->mk", weights, task.agreement(targets[near], targets[near]))
    fit = np.where(weights > 0, fit, -1)
    best, places = fit.argmax(1), np.arange(len(chunk))
    others = np.where(own_agreement < 1, similarity, 0)
    nearest = others.argmax(1)
    return Conflicts(
        chunk,
        (fit[places, best] - fit_own) * similarity.max(1) ** NEAR_POWER,
        1 - fit_own,
        near[places, nearest],
        others[places, nearest],
        near[places, best],
    )
