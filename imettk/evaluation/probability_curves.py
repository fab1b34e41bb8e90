"""ROC, precision-recall and calibration curves of out-of-fold probabilities, in few numbers, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imettk.progress import with_bar

NUM_CELLS = 200  # points of a curve; each is the mean height of its cell, which keeps the area exact
CELLS = (1 - np.cos(np.pi * np.arange(NUM_CELLS + 1) / NUM_CELLS)) / 2  # narrow at the ends, where curves bend
AXIS = np.concatenate([[0], (CELLS[1:] + CELLS[:-1]) / 2, [1]])
MOST_LABELS = 6  # labels with their own curve
ROWS_OF_A_BIN, FEWEST_BINS, MOST_BINS = 500, 5, 50
LARGE = 5_000_000  # probabilities beyond which a progress bar is shown


def label_curves(probs: np.ndarray, truth: np.ndarray, titles: Sequence[str]) -> dict[str, Any] | None:
    """Return the ROC and precision-recall curves of each label with their areas, as plain values.

    With more than `MOST_LABELS` labels, those with the largest and those with the smallest area under the ROC curve are
    kept, half of each, and the mean of all curves.

    Args:
        probs: float (N, L).
        truth: bool (N, L).
        titles: names of the labels, (L,).

    Returns:
        None if no label has both true and false rows, without which there is no curve.
    """
    rows = np.count_nonzero(truth, axis=0)
    judged = np.flatnonzero((rows > 0) & (rows < len(truth)))
    if not len(judged):
        return None
    heights, areas = np.empty((len(judged), 2, len(AXIS))), np.empty((len(judged), 2))
    hidden = truth.size < LARGE
    labels = with_bar(judged.tolist(), "curves of labels", total=len(judged), unit="label", hidden=hidden)
    for place, label in enumerate(labels):
        heights[place], areas[place] = _curves(probs[:, label], truth[:, label])
    order = np.argsort(-areas[:, 0], kind="stable")
    if few := len(order) > MOST_LABELS:
        order = np.concatenate([order[: MOST_LABELS // 2], order[-MOST_LABELS // 2 :]])
    lines = [
        {"label": titles[judged[place]], "rows": int(rows[judged[place]])} | _plain(heights[place], areas[place])
        for place in order.tolist()
    ]
    mean = _plain(heights.mean(0), areas.mean(0)) if len(judged) > 1 else None
    counts = {"rows": len(truth), "labels": len(judged), "left_out": len(rows) - len(judged)}
    return counts | {"some": few, "axis": AXIS.round(6).tolist(), "lines": lines, "mean": mean}


def calibration(probs: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Return the calibration curve in bins of equal size, as plain values.

    Equal probabilities share a bin, so that sizes may differ, as in scikit-learn's `calibration_curve`.

    Args:
        probs: float (N, L); all columns count together.
        truth: bool (N, L), or shares in [0, 1].
    """
    num_bins = int(np.clip(probs.size // ROWS_OF_A_BIN, FEWEST_BINS, MOST_BINS))
    inner = np.percentile(probs, np.linspace(0, 100, num_bins + 1)[1:-1])
    sums = np.zeros((3, num_bins))  # rows, sum of probabilities, true rows
    for column, true in zip(probs.T, truth.T, strict=True):
        bins = np.searchsorted(inner, column)
        sums += [np.bincount(bins, weights, num_bins) for weights in (None, column, true)]
    counts, expected, true_rows = sums[:, sums[0] > 0]
    return {
        "counts": counts.astype(int).tolist(),
        "probs": (expected / counts).round(6).tolist(),
        "shares": (true_rows / counts).round(6).tolist(),
        "error": float(np.abs(expected - true_rows).sum() / probs.size),
    }


def _curves(probs: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return heights of a column's ROC and precision-recall curves over `AXIS`, (2, A), and their areas, (2,)."""
    from sklearn.metrics import roc_curve

    # Points on a straight stretch of the ROC curve may be dropped there, but bend the precision-recall curve.
    false_rate, true_rate, _ = roc_curve(truth, probs, drop_intermediate=False)
    num_true = np.count_nonzero(truth)
    true_rows, false_rows = true_rate * num_true, false_rate * (len(truth) - num_true)
    precision = true_rows[1:] / (true_rows[1:] + false_rows[1:])
    under = np.diff(false_rate) * (true_rate[1:] + true_rate[:-1]) / 2, np.diff(true_rate) * precision
    areas = [np.concatenate([[0], np.cumsum(part)]) for part in under]
    cells = [
        np.diff(np.interp(CELLS, across, area)) / np.diff(CELLS)
        for across, area in zip((false_rate, true_rate), areas, strict=True)
    ]
    ends = (0.0, 1.0), (cells[1][0], cells[1][-1])
    heights = [np.concatenate([[first], cell, [last]]) for cell, (first, last) in zip(cells, ends, strict=True)]
    return np.array(heights), np.array([area[-1] for area in areas])


def _plain(heights: np.ndarray, areas: np.ndarray) -> dict[str, Any]:
    """Return the curves of a label as plain values."""
    roc, precision = heights.round(5).tolist()
    return {"roc_auc": float(areas[0]), "roc": roc, "average_precision": float(areas[1]), "precision": precision}
