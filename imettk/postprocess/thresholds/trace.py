"""Curve of a score over thresholds, to look at; `sweep` finds its highest point exactly."""

from __future__ import annotations

import numpy as np

from imettk.metrics.labels import Average, f_beta_from_counts, sum_units

ROWS = 4096  # of a matrix processed at a time


def trace_threshold(
    probs: np.ndarray, targets: np.ndarray, thresholds: np.ndarray, *, beta: float, average: Average
) -> np.ndarray:
    """Return F-beta of choosing every label at or above each threshold, without limits of labels a row, float64 (T,).

    All thresholds take one pass: each probability is counted at the highest threshold that it reaches, and sums from
    above give the labels chosen at each threshold.

    Args:
        probs: float (N, C).
        targets: uint8 or bool (N, C).
        thresholds: rising, (T,).
    """
    total = np.zeros(len(thresholds))
    counts: list[np.ndarray] = []  # hits, chosen and true labels of each unit, over all parts so far
    for first in range(0, len(probs), ROWS):
        part, true = probs[first : first + ROWS], targets[first : first + ROWS].astype(bool)
        more = _count(part, true, thresholds, average)
        if average == "samples":
            total += f_beta_from_counts(*more, beta=beta).sum(0)
        else:
            counts = [a + b for a, b in zip(counts, more, strict=True)] if counts else more
    return total / len(probs) if average == "samples" else f_beta_from_counts(*counts, beta=beta).mean(0)


def _count(probs: np.ndarray, true: np.ndarray, thresholds: np.ndarray, average: Average) -> list[np.ndarray]:
    """Count hits and chosen labels of each unit at each threshold, (U, T), and its true labels, (U, 1)."""
    num_true, size = sum_units(true, average)[:, None], len(thresholds)
    rows, labels = np.nonzero(probs >= thresholds[0])
    unit = {"samples": rows, "macro": labels, "micro": np.zeros_like(rows)}[average]
    place = unit * size + np.searchsorted(thresholds, probs[rows, labels], side="right") - 1
    chosen, hits = (
        np.bincount(places, minlength=num_true.size * size).reshape(-1, size)[:, ::-1].cumsum(1)[:, ::-1]
        for places in (place, place[true[rows, labels]])
    )
    return [hits, chosen, num_true]
