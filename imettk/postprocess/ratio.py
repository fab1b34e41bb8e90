"""Answers in which every label has a given share of the rows, whatever the probabilities are calibrated to.

The thresholds of HPA 2018's winner: the share of each label in the answers is that of the training set (or of a table,
or a mean of two). They need no targets, only the probabilities that they are applied to.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.postprocess.thresholds.curves import find_top
from imettk.postprocess.thresholds.sweep import ABOVE_ALL, between


def share_thresholds(probs: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Of each label the threshold whose share of rows is nearest to the given one, float64 (C,).

    Within one row of the wanted count, unless equal probabilities stand in the way.

    Args:
        probs: float (N, C).
        shares: of rows, in [0, 1], (C,).
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
    """The threshold that chooses nearest to `wanted` of these probabilities, which fall, (M,), M >= wanted."""
    value, following = values[wanted - 1], values[wanted] if wanted < len(values) else None
    if following is None or following < value:
        return between(following, value)
    # Equal probabilities on both sides of the border: take all of them, or none.
    without, with_them = np.searchsorted(-values, -value, "left"), np.searchsorted(-values, -value, "right")
    return float(value if with_them - wanted <= wanted - without else np.nextafter(value, type(value)(np.inf)))


def drift(chosen: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """By how many rows each label's count is off, int64 (C,): what filling empty rows and ties did to the ratio."""
    wanted = np.floor(np.asarray(shares, np.float64) * len(chosen) + 0.5).astype(np.int64)
    return np.count_nonzero(chosen, axis=0) - wanted


def sensitivity(
    probs: np.ndarray,
    shares: np.ndarray,
    score: Callable[[np.ndarray], float],
    apply: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    labels: np.ndarray,
    most: int = 5,
) -> np.ndarray:
    """The score where one rare label gets up to `most` rows fewer or more: how large a shake-up would be.

    Args:
        score: of answers, bool (N, C).
        apply: answers for probabilities and shares.
        labels: which to try, int64 (L,).

    Returns:
        float64 (L, 2 * most + 1); the middle column is the score as it is.
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
