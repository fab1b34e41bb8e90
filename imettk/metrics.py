"""Scores, as the competitions count them. Plain numpy."""

from __future__ import annotations

import numpy as np


def f_beta(chosen: np.ndarray, targets: np.ndarray, *, beta: float) -> float:
    """F-beta averaged over samples, as scikit-learn's `fbeta_score(average="samples", zero_division=0)`.

    Args:
        chosen: the answer, bool or uint8 (N, C).
        targets: the truth, bool or uint8 (N, C).

    Returns:
        In [0, 1]; a row without answer and without truth counts as 0.
    """
    hits = (chosen.astype(bool) & targets.astype(bool)).sum(1)
    return float(f_beta_from_counts(hits, chosen.sum(1), targets.sum(1), beta=beta).mean())


def f_beta_from_counts(hits: np.ndarray, num_chosen: np.ndarray, num_true: np.ndarray, *, beta: float) -> np.ndarray:
    """F-beta = (1 + beta^2) hits / (num_chosen + beta^2 num_true), elementwise float64; 0 where there is nothing."""
    weight = beta * beta
    below = num_chosen + weight * num_true
    return np.where(below > 0, (1 + weight) * hits / np.maximum(below, 1e-12), 0.0)


def accuracy(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Share of equal entries; both int64 (N,)."""
    return float((chosen == targets).mean())


def best_constant(targets: np.ndarray, *, beta: float) -> tuple[np.ndarray, float]:
    """The one answer for every sample that scores best: what a model has to beat.

    Args:
        targets: uint8 (N, C) for F-beta, or int64 (N,) for accuracy.

    Returns:
        The answer, bool (C,) or the class as int64 (), and its score. Labels are added one by one while the F-beta
        rises (greedy: the score is the best constant's or just under it).
    """
    if targets.ndim == 1:
        counts = np.bincount(targets)
        return np.asarray(counts.argmax()), float(counts.max() / len(targets))
    num_true = targets.sum(1).astype(np.float64)
    hits, answer, best = np.zeros(len(targets)), np.zeros(targets.shape[1], bool), 0.0
    while not answer.all():
        below = (answer.sum() + 1) + beta * beta * num_true
        # The mean over samples of (1 + b^2)(hits + target) / below, for every label that could be added.
        scores = (1 + beta * beta) * ((hits / below).sum() + (1 / below) @ targets) / len(targets)
        scores[answer] = -1
        label = int(scores.argmax())
        if scores[label] <= best:
            break
        best, answer[label] = float(scores[label]), True
        hits += targets[:, label]
    return answer, best
