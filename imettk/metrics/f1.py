"""F1 and F-beta where a row has one class, and of probabilities; those of labels are in `labels`."""

from __future__ import annotations

import math

import numpy as np

from imettk.metrics.auc import columns_of_classes
from imettk.metrics.labels import f_beta_from_counts


def count_classes(chosen: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return hits, chosen and true rows of each class, int64 (K,); both int64 (N,), K one more than the highest."""
    num_classes = int(max(chosen.max(), targets.max())) + 1
    parts = targets[chosen == targets], chosen, targets
    hits, num_chosen, num_true = (np.bincount(part, minlength=num_classes) for part in parts)
    return hits, num_chosen, num_true


def class_f_beta_macro(chosen: np.ndarray, targets: np.ndarray, *, beta: float) -> float:
    """The mean of each class's F-beta, as scikit-learn's `fbeta_score(average="macro")`; both int64 (N,).

    A class that is neither chosen nor true in any row is left out; one that is either counts, if only as 0.
    """
    hits, num_chosen, num_true = count_classes(chosen, targets)
    seen = num_chosen + num_true > 0
    return float(f_beta_from_counts(hits, num_chosen, num_true, beta=beta)[seen].mean())


def best_constant_class_f_beta_macro(targets: np.ndarray, *, beta: float) -> float:
    """What the most frequent class scores as the answer to every row; targets int64 (N,)."""
    return class_f_beta_macro(np.full_like(targets, np.bincount(targets).argmax()), targets, beta=beta)


def probabilistic_f1(probs: np.ndarray, targets: np.ndarray) -> float:
    """F1 of probabilities as they are, without any threshold: RSNA 2022 breast cancer detection's pF1.

    Where F1 counts chosen rows, the probabilities are added up (Yacouby and Axman 2020).

    Args:
        probs: (N, C).
        targets: 0 or 1, (N, C).

    Returns:
        The mean over columns. A column without a true row has no recall, and the mean leaves it out; NaN where no
        column is left.
    """
    truth = targets > 0
    hits, chosen, true = (
        np.where(truth, probs, 0).sum(0, dtype=np.float64),
        probs.sum(0, dtype=np.float64),
        truth.sum(0),
    )
    known = true > 0
    return float((2 * hits[known] / (chosen[known] + true[known])).mean()) if known.any() else math.nan


def best_constant_probabilistic_f1(targets: np.ndarray) -> float:
    """The score where every row has every label for certain; targets (N, C)."""
    return probabilistic_f1(np.ones(targets.shape, np.float32), targets)


def best_constant_class_probabilistic_f1(targets: np.ndarray) -> float:
    """The score of 1 for the second of two classes, else of each class's share of the rows; targets int64 (N,).

    Of probabilities that sum to 1, shares score best: there each class gains as much by a little more of it.
    """
    truth = columns_of_classes(targets)
    shares = np.ones(1) if truth.shape[1] == 1 else truth.mean(0)
    return probabilistic_f1(np.broadcast_to(shares, truth.shape), truth)
