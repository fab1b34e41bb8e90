"""Thresholds that give every label a set share of the rows, however probabilities are calibrated.

HPA 2018's winner used them: the share of each label in the answers is that of the training set (or of a table, or the
mean of both). They need no targets, only the probabilities that they are applied to.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.postprocess.thresholds.curves import find_top
from imettk.postprocess.thresholds.sweep import ABOVE_ALL, between


def share_thresholds(probs: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the threshold of each label whose share of rows is nearest to the given one, float64 (C,).

    The count is within one row of the wanted one, unless probabilities are tied.

    Args:
        probs: float (N, C).
        shares: share of rows of each label, in [0, 1], (C,).
    """
    wanted = np.floor(np.asarray(shares, np.float64) * len(probs) + 0.5).astype(np.int64).clip(0, len(probs))
    top = find_top(probs, np.arange(probs.shape[1]), np.where(wanted > 0, wanted + 1, 0))
    thresholds = np.full(probs.shape[1], ABOVE_ALL)
    starts = np.cumsum(top.counts) - top.counts
    for label in np.flatnonzero(wanted):
        values = top.values[starts[label] : starts[label] + top.counts[label]]
        thresholds[label] = _nearest(values, int(wanted[label]))
    return thresholds


def _nearest(values: np.ndarray, wanted: int) -> float:
    """Return the threshold that chooses nearest to `wanted` of these falling probabilities, (M,), M >= wanted."""
    value, following = values[wanted - 1], values[wanted] if wanted < len(values) else None
    if following is None or following < value:
        return between(following, value)
    # Ties across the border: take all of them or none, whichever is nearer to the wanted count.
    without, with_them = np.searchsorted(-values, -value, "left"), np.searchsorted(-values, -value, "right")
    return float(value if with_them - wanted <= wanted - without else np.nextafter(value, type(value)(np.inf)))


def drift(chosen: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return how many rows each label's count is off, int64 (C,), from ties and from filling empty rows."""
    wanted = np.floor(np.asarray(shares, np.float64) * len(chosen) + 0.5).astype(np.int64)
    return np.asarray(np.count_nonzero(chosen, axis=0) - wanted)


def sensitivity(
    probs: np.ndarray,
    shares: np.ndarray,
    score: Callable[[np.ndarray], float],
    apply: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    labels: np.ndarray,
    most: int = 5,
) -> np.ndarray:
    """Return the score with up to `most` rows fewer or more of one rare label: an estimate of a shake-up.

    Args:
        score: (answers bool (N, C)) -> score.
        apply: (probabilities, shares) -> answers.
        labels: labels to vary, int64 (L,).

    Returns:
        float64 (L, 2 * most + 1); the middle column is the score without a change.
    """
    table = np.zeros((len(labels), 2 * most + 1))
    table[:, most] = score(apply(probs, shares))
    for row, label in enumerate(labels):
        count = round(float(shares[label]) * len(probs))
        for step in range(-most, most + 1):
            if step:
                changed = np.array(shares, np.float64)
                changed[label] = min(max(count + step, 0), len(probs)) / len(probs)
                table[row, most + step] = score(apply(probs, changed))
    return table
