"""Scores of ranked answers to queries with one right answer each, in plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.errors import UserError


def map_at_k(ranked: np.ndarray, targets: np.ndarray, *, k: int | None = None) -> float:
    """Return MAP@k with one right answer per sample: the mean of 1 / (its rank), 0 if it is not among the first k.

    Args:
        ranked: answers, best first, int64 (N, K), distinct within a row.
        targets: int64 (N,).
        k: number of answers that count; None for all.
    """
    return float(_points(ranked[:, :k], targets).mean())


def _points(ranked: np.ndarray, targets: np.ndarray) -> np.ndarray:
    hit = ranked == targets[:, None]
    return np.where(hit.any(1), 1 / (hit.argmax(1) + 1), 0.0)


def map_at_k_resampled(ranked: np.ndarray, targets: np.ndarray, *, k: int | None = None) -> Callable[..., float]:
    """Return a function that scores rows drawn with replacement; see `map_at_k`."""
    points = _points(ranked[:, :k], targets)
    return lambda rows: float(points[rows].mean())


def best_constant_ranking(targets: np.ndarray, *, k: int) -> float:
    """Return MAP@k of the k most frequent labels, in order of frequency."""
    frequent = np.argsort(-np.bincount(targets), kind="stable")[:k]
    return map_at_k(np.broadcast_to(frequent, (len(targets), len(frequent))), targets)


def recall_at_k(ranked: np.ndarray, targets: np.ndarray) -> float:
    """Return the share of rows whose target, int64 (N,), is among their answers, int64 (N, k)."""
    return float((ranked == targets[:, None]).any(1).mean())


def precision_at_k(ranked: np.ndarray, targets: np.ndarray, *, k: int | None = None) -> float:
    """Return the share of answers, int64 (N, K), that equal their row's target, int64 (N,); -1 is a missing answer."""
    return float((ranked[:, :k] == targets[:, None]).mean())


def top_k(probs: np.ndarray, targets: np.ndarray, *, k: int) -> float:
    """Return the share of rows whose class is among their k likeliest, as scikit-learn's `top_k_accuracy_score`.

    Args:
        probs: (N, C); among equal probabilities the later classes rank first, as in scikit-learn.
        targets: int64 (N,).
        k: below C.

    Raises:
        UserError: k is not below C, so every answer would be right.
    """
    return recall_at_k(_most_likely(probs, k), targets)


def top_k_resampled(probs: np.ndarray, targets: np.ndarray, *, k: int) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `top_k`."""
    hits = (_most_likely(probs, k) == targets[:, None]).any(1)
    return lambda rows: float(hits[rows].mean())


def best_constant_top_k(targets: np.ndarray, *, k: int) -> float:
    """Return the share of rows of the k most frequent classes; targets int64 (N,)."""
    return float(np.sort(np.bincount(targets))[-k:].sum() / len(targets))


def _most_likely(probs: np.ndarray, k: int) -> np.ndarray:
    """Return the k likeliest classes of each row, int64 (N, k)."""
    if k >= probs.shape[1]:
        raise UserError(f"k of top_k must be below the number of classes, {probs.shape[1]}, got {k}")
    # Reversed from a stable rising order, so that ties fall as in scikit-learn.
    return np.argsort(probs, axis=1, kind="stable")[:, : -k - 1 : -1]
