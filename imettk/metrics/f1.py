"""F1 and F-beta of rows with one class, and F1 of probabilities; `labels` has those of label sets."""

from __future__ import annotations

import math

import numpy as np

from imettk.metrics.auc import columns_of_classes
from imettk.metrics.labels import f_beta_from_counts


def count_classes(chosen: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count hits, chosen and true rows of each class, int64 (K,) each, for classes int64 (N,) below K."""
    # Classes above the highest one that occurs would count as 0, and no metric counts absent classes.
    num_classes = int(max(chosen.max(), targets.max())) + 1
    parts = targets[chosen == targets], chosen, targets
    hits, num_chosen, num_true = (np.bincount(part, minlength=num_classes) for part in parts)
    return hits, num_chosen, num_true


def class_f_beta_macro(chosen: np.ndarray, targets: np.ndarray, *, beta: float) -> float:
    """Return the mean of each class's F-beta, as scikit-learn's `fbeta_score(average="macro")`; both int64 (N,).

    A class that is neither chosen nor true in any row is left out; every other class counts, even with a score of 0.
    """
    hits, num_chosen, num_true = count_classes(chosen, targets)
    seen = num_chosen + num_true > 0
    return float(f_beta_from_counts(hits, num_chosen, num_true, beta=beta)[seen].mean())


def best_constant_class_f_beta_macro(targets: np.ndarray, *, beta: float) -> float:
    """Return the score of the most frequent class as the answer to every row; targets int64 (N,)."""
    return class_f_beta_macro(np.full_like(targets, np.bincount(targets).argmax()), targets, beta=beta)


def probabilistic_f1(probs: np.ndarray, targets: np.ndarray) -> float:
    """Return F1 of probabilities without any threshold: RSNA 2022 breast cancer detection's pF1.

    Sums of probabilities replace F1's counts of chosen rows (Yacouby and Axman 2020).

    Args:
        probs: (N, C).
        targets: 0 or 1, (N, C).

    Returns:
        Mean over columns. A column without a positive row has no recall and is left out of the mean; NaN if no column
        is left.
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
    """Return the score of probability 1 for every label of every row; targets (N, C)."""
    return probabilistic_f1(np.ones(targets.shape, np.float32), targets)


def best_constant_class_probabilistic_f1(targets: np.ndarray) -> float:
    """Return the score of 1 for the second of two classes, or of each class's share of the rows if there are more.

    Targets are int64 (N,). Among probabilities that sum to 1 the shares score best: there the gradient is the same for
    every class.
    """
    truth = columns_of_classes(targets)
    shares = np.ones(1) if truth.shape[1] == 1 else truth.mean(0)
    return probabilistic_f1(np.broadcast_to(shares, truth.shape), truth)
