"""Confidence of predictions: which are sure enough to train on."""

from __future__ import annotations

import numpy as np

EDGE = 1e-6  # probabilities are clipped to [EDGE, 1 - EDGE] before their logit


def row_confidence(probs: np.ndarray, thresholds: np.ndarray | None) -> np.ndarray:
    """Return the confidence of each row's answer, float (N,).

    For classes it is the probability of the likeliest one. For labels it is that of the most doubtful label, in [0.5,
    1): the sigmoid of its distance, in logits, from its own threshold.

    Args:
        probs: float (N, C).
        thresholds: one per label, (C,); None for classes.
    """
    if thresholds is None:
        return np.asarray(probs.max(1))
    distance = np.abs(_logit(probs) - _logit(np.asarray(thresholds))).min(1)
    return np.asarray(1 / (1 + np.exp(-distance)))


def rank_confidence(probs: np.ndarray, count: int) -> np.ndarray:
    """Return the confidence of giving each row its `count` likeliest labels, float (N,), in [0.5, 1).

    It is `row_confidence` with a threshold for each row, halfway (in logits) between the least likely of its labels and
    the most likely other label. A row that gets all labels has the highest confidence.

    Args:
        probs: float (N, C).
        count: at least 1.
    """
    if count >= probs.shape[1]:
        return np.full(len(probs), 1 - EDGE)
    logits = np.sort(_logit(probs), axis=1)[:, ::-1]
    return np.asarray(1 / (1 + np.exp((logits[:, count] - logits[:, count - 1]) / 2)))


def agreement(numbers: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return how closely several models agree on the numbers of each row, float (N,); 1 if they are equal.

    It is 1 minus the models' standard deviation, in units of `spread`, for the target with the largest one.

    Args:
        numbers: predictions of F models, float (F, N, T).
        spread: unit of each target, the standard deviation of its true numbers, (T,); 0 counts as 1.
    """
    deviations: np.ndarray = numbers.std(0, dtype=np.float64) / np.where(spread > 0, spread, 1)
    return 1 - np.asarray(deviations.max(1))


def _logit(values: np.ndarray) -> np.ndarray:
    kept = np.clip(values.astype(np.float64), EDGE, 1 - EDGE)
    return np.asarray(np.log(kept / (1 - kept)))
