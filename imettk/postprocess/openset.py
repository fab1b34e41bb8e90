"""The label of unknown identities: its place among ranked labels is before the first score below a threshold."""

from __future__ import annotations

import numpy as np

from imettk.postprocess.ranking import Ranked, drop_repeats
from imettk.postprocess.thresholds.sweep import between

BEYOND = 2.0  # distance of an open end from all scores: no two cosines or probabilities are farther apart
TOLERANCE = 1e-9  # of a sum of reciprocal ranks: sums that differ at all differ by more


def insert_unknown(ranked: Ranked, threshold: float, *, unknown: int) -> np.ndarray:
    """Insert the unknown label before the first score below the threshold, if that is among the k.

    Args:
        ranked: labels and falling scores (Q, k).
        unknown: the label; if a row already has it, only the first of the two places counts.

    Returns:
        int64 (Q, k); labels behind it move back by one, and the last one is dropped.
    """
    k = ranked.labels.shape[1]
    place, columns = (ranked.scores >= threshold).sum(1)[:, None], np.arange(k + 1)
    before = np.minimum(columns - (columns > place), k - 1)
    wide = np.where(columns == place, unknown, np.take_along_axis(ranked.labels, before, axis=1))
    return drop_repeats(wide, unknown)[:, :k]


def fit_unknown(ranked: Ranked, targets: np.ndarray, *, unknown: int, k: int) -> tuple[float, float]:
    """Return the threshold of `insert_unknown` with the highest MAP@k, and that MAP: exact, over all thresholds.

    Lowering the threshold past a score moves the unknown label of that row back by one place, which changes the row's
    points. A running sum of the changes, in order of scores, gives the MAP at every threshold.

    Args:
        ranked: labels and falling scores (Q, K), K at least k.
        targets: int64 (Q,), `unknown` for identities that cannot be ranked.

    Returns:
        The middle of the widest range of best thresholds. A range with an open end is chosen only if no other is as
        good: 2 above all scores (the unknown label is always first), or 2 below (it is never inserted).
    """
    labels, scores = ranked.labels[:, :k], ranked.scores[:, :k]
    points = _points(labels, targets, unknown)
    values, which = np.unique(scores[np.isfinite(scores)], return_inverse=True)
    if not len(targets) or not len(values):
        return 0.0, float(points[:, 0].mean()) if len(targets) else 0.0
    changes = np.bincount(which, weights=np.diff(points, axis=1)[np.isfinite(scores)], minlength=len(values))
    moved = np.abs(changes) > TOLERANCE
    # The threshold lies in (bounds[i], bounds[i + 1]].
    bounds = np.concatenate([[-np.inf], values[moved], [np.inf]])
    sums = points[:, 0].sum() + np.append(0, np.cumsum(changes[moved][::-1]))[::-1]
    widths = np.diff(bounds)
    widths[np.isinf(widths)] = 0
    best = int(np.where(sums >= sums.max() - TOLERANCE, widths, -1).argmax())
    return _within(bounds[best], bounds[best + 1], values), float(sums[best] / len(targets))


def _points(labels: np.ndarray, targets: np.ndarray, unknown: int) -> np.ndarray:
    """Return each row's points with the unknown label inserted at place 0 to K, float64 (Q, K + 1); at K it is cut."""
    width = labels.shape[1]
    true, there = (_place(labels == label) for label in (targets[:, None], unknown))
    inserted = np.arange(width + 1)
    # Inserting the label moves the truth back by one, unless the row already had the label before the truth.
    place = np.where(
        (targets == unknown)[:, None], np.minimum(inserted, there), true + ((inserted <= true) & (there > true))
    )
    return np.where(place < width, 1 / (place + 1), 0.0)


def _place(mask: np.ndarray) -> np.ndarray:
    """Return the first true column of each row, or the width if there is none, int64 (Q, 1)."""
    return np.asarray(np.where(mask.any(1), mask.argmax(1), mask.shape[1])[:, None])


def _within(low: float, high: float, values: np.ndarray) -> float:
    """Return the middle of a range (low, high], or a number `BEYOND` all (rising) values for an open end."""
    if np.isinf(low):
        return float(values[0] - BEYOND)
    kind = values.dtype.type
    return float(values[-1] + BEYOND) if np.isinf(high) else between(kind(low), kind(high))


def threshold_for_share(scores: np.ndarray, share: float) -> float:
    """Return the threshold at which this share of rows has the unknown label first, as closely as ties allow.

    Args:
        scores: of each row's first answer, (Q,); -inf (no answer) is below any threshold.
        share: in [0, 1].

    Returns:
        A number halfway between two scores, or 2 beyond all of them at the ends.
    """
    values = np.sort(scores[np.isfinite(scores)])
    if not len(values):
        return 0.0
    edges = np.append(np.flatnonzero(np.append(True, values[1:] > values[:-1])), len(values))
    wanted = share * len(scores) - (len(scores) - len(values))
    edge = int(edges[np.abs(edges - wanted).argmin()])
    low = values[edge - 1] if edge else -np.inf
    return _within(low, values[edge] if edge < len(values) else np.inf, values)


def unknown_auc(scores: np.ndarray, is_unknown: np.ndarray) -> float | None:
    """Return the ROC AUC of first scores (Q,) for known against unknown rows, bool (Q,); None if one kind is absent."""
    from sklearn.metrics import roc_auc_score

    if is_unknown.all() or not is_unknown.any():
        return None
    ranks = np.unique(scores, return_inverse=True)[1]  # scikit-learn takes no -inf
    return float(roc_auc_score(~is_unknown, ranks))
