"""Curves of out-of-fold probabilities for the report, in few numbers: ROC, precision-recall and calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from imettk.progress import progress_bar

NUM_CELLS = 200  # of a curve: each keeps its mean height, so that the area stays what it was
CELLS = (1 - np.cos(np.pi * np.arange(NUM_CELLS + 1) / NUM_CELLS)) / 2  # edges: narrow at both ends, where curves bend
AXIS = np.concatenate([[0], (CELLS[1:] + CELLS[:-1]) / 2, [1]])
MOST_LABELS = 6  # with a curve of their own
ROWS_OF_A_BIN, FEWEST_BINS, MOST_BINS = 500, 5, 50
LARGE = 5_000_000  # probabilities from which on a bar is shown


def label_curves(probs: np.ndarray, truth: np.ndarray, titles: Sequence[str]) -> dict[str, Any] | None:
    """Return ROC and precision-recall curves of each label against its absence, with their areas, as plain values.

    Of more than `MOST_LABELS` those with the largest and the smallest area under the ROC curve are kept, as many of
    each, and the mean over all.

    Args:
        probs: float (N, L).
        truth: bool (N, L).
        titles: of the labels, (L,).

    Returns:
        None where no label has both true and false rows: the others have no curve.
    """
    rows = np.count_nonzero(truth, axis=0)
    judged = np.flatnonzero((rows > 0) & (rows < len(truth)))
    if not len(judged):
        return None
    heights, areas = np.empty((len(judged), 2, len(AXIS))), np.empty((len(judged), 2))
    for place, label in enumerate(_with_bar(judged, hidden=truth.size < LARGE)):
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
    """Return how often what has some probability is true, in bins of as many values each, as plain values.

    Equal probabilities are in one bin, so that bins may differ, as scikit-learn's of `calibration_curve` do.

    Args:
        probs: float (N, L); columns count together.
        truth: bool (N, L), or shares in [0, 1].
    """
    num_bins = int(np.clip(probs.size // ROWS_OF_A_BIN, FEWEST_BINS, MOST_BINS))
    inner = np.percentile(probs, np.linspace(0, 100, num_bins + 1)[1:-1])
    sums = np.zeros((3, num_bins))  # of rows, of probabilities, of true rows
    for column, true in zip(probs.T, truth.T, strict=True):
        bins = np.searchsorted(inner, column)
        sums += [np.bincount(bins, weights, num_bins) for weights in (None, column, true)]
    counts, expected, found = sums[:, sums[0] > 0]
    return {
        "counts": counts.astype(int).tolist(),
        "probs": (expected / counts).round(6).tolist(),
        "shares": (found / counts).round(6).tolist(),
        "error": float(np.abs(expected - found).sum() / probs.size),
    }


def _with_bar(labels: np.ndarray, *, hidden: bool) -> Iterator[int]:
    """Give labels one by one while a bar moves."""
    with progress_bar("curves of labels", total=len(labels), unit="label", hidden=hidden) as bar:
        for label in labels.tolist():
            yield label
            bar.update()


def _curves(probs: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights of the ROC and precision-recall curves over `AXIS`, (2, A), and their areas, (2,), of one column."""
    from sklearn.metrics import roc_curve

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
    roc, precision = heights.round(5).tolist()
    return {"roc_auc": float(areas[0]), "roc": roc, "average_precision": float(areas[1]), "precision": precision}
