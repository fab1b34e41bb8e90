"""Scores of ranked answers to queries with one right answer each. Plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.errors import UserError


def map_at_k(ranked: np.ndarray, targets: np.ndarray, *, k: int | None = None) -> float:
    """MAP@k of samples with one right answer each: the mean of 1 / (its rank), 0 where it is not among the k.

    Args:
        ranked: answers, best first, int64 (N, K), none twice in a row.
        targets: int64 (N,).
        k: answers that count; None is all of them.
    """
    return float(_points(ranked[:, :k], targets).mean())


def _points(ranked: np.ndarray, targets: np.ndarray) -> np.ndarray:
    hit = ranked == targets[:, None]
    return np.where(hit.any(1), 1 / (hit.argmax(1) + 1), 0.0)


def map_at_k_resampled(ranked: np.ndarray, targets: np.ndarray, *, k: int | None = None) -> Callable[..., float]:
    """MAP@k of rows drawn with repeats: a mean of points that each row has."""
    points = _points(ranked[:, :k], targets)
    return lambda rows: float(points[rows].mean())


def best_constant_ranking(targets: np.ndarray, *, k: int) -> float:
    """MAP@k of the k most frequent labels, in order of frequency."""
    frequent = np.argsort(-np.bincount(targets), kind="stable")[:k]
    return map_at_k(np.broadcast_to(frequent, (len(targets), len(frequent))), targets)


def recall_at_k(ranked: np.ndarray, targets: np.ndarray) -> float:
    """Share of rows whose target, int64 (N,), is among their answers, int64 (N, k)."""
    return float((ranked == targets[:, None]).any(1).mean())


def precision_at_k(ranked: np.ndarray, targets: np.ndarray, *, k: int | None = None) -> float:
    """Share of the answers, int64 (N, K), that show the row's target, int64 (N,); -1 in place of an answer is wrong."""
    return float((ranked[:, :k] == targets[:, None]).mean())


def top_k(probs: np.ndarray, targets: np.ndarray, *, k: int) -> float:
    """Share of rows whose class is among their k most likely, as scikit-learn's `top_k_accuracy_score`.

    Args:
        probs: (N, C); of classes that are as likely, the later ones come first.
        targets: int64 (N,).
        k: below C.

    Raises:
        UserError: every answer would be right.
    """
    return recall_at_k(_most_likely(probs, k), targets)


def top_k_resampled(probs: np.ndarray, targets: np.ndarray, *, k: int) -> Callable[[np.ndarray], float]:
    """Top-k accuracy of rows drawn with repeats."""
    hits = (_most_likely(probs, k) == targets[:, None]).any(1)
    return lambda rows: float(hits[rows].mean())


def best_constant_top_k(targets: np.ndarray, *, k: int) -> float:
    """The share of rows of the k most frequent classes; targets int64 (N,)."""
    return float(np.sort(np.bincount(targets))[-k:].sum() / len(targets))


def _most_likely(probs: np.ndarray, k: int) -> np.ndarray:
    """The k most likely classes of each row, int64 (N, k)."""
    if k >= probs.shape[1]:
        raise UserError(f"k of top_k must be below the number of classes, {probs.shape[1]}, got {k}")
    return np.argsort(probs, axis=1, kind="stable")[:, : -k - 1 : -1]
