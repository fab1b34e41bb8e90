"""Agreement with the truth beyond chance: balanced accuracy, Matthews' correlation, Cohen's kappa."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.metrics.f1 import count_classes
from imettk.metrics.labels import count_labels, counts_resampled


def balanced_accuracy(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean over labels of scikit-learn's `balanced_accuracy_score` (Brodersen et al. 2010).

    For each label that is the mean of two recalls: of the rows that have it, and of the rows that do not.

    Args:
        chosen: bool or uint8 (N, C).
        targets: bool or uint8 (N, C); a label that all rows have, or none, has only one recall.
    """
    return _balanced(*count_labels(chosen, targets, average="macro"), len(targets))


def balanced_accuracy_resampled(chosen: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `balanced_accuracy`."""
    counts_of = counts_resampled(chosen, targets, average="macro")
    return lambda rows: _balanced(*counts_of(rows), len(rows))


def _balanced(hits: np.ndarray, num_chosen: np.ndarray, num_true: np.ndarray, num_rows: int) -> float:
    # A label with only one kind of rows has one recall, and its mean must divide by 1 instead of 2.
    num_false = num_rows - num_true
    right = num_false - (num_chosen - hits)
    recalls = hits / np.maximum(num_true, 1) + right / np.maximum(num_false, 1)
    return float((recalls / ((num_true > 0).astype(int) + (num_false > 0))).mean())


def class_balanced_accuracy(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean recall of the classes that occur in `targets`, as `balanced_accuracy_score`; both int64 (N,)."""
    hits, _, num_true = count_classes(chosen, targets)
    known = num_true > 0
    return float((hits[known] / num_true[known]).mean())


def best_constant_balanced_accuracy(targets: np.ndarray) -> float:
    """Return the score of each label's more frequent answer: one of its recalls is 1, the other 0; targets (N, C)."""
    return balanced_accuracy((targets > 0).mean(0, keepdims=True).repeat(len(targets), 0) > 0.5, targets)


def best_constant_class_balanced_accuracy(targets: np.ndarray) -> float:
    """Return the score of any single class: its recall is 1, all others are 0; targets int64 (N,)."""
    return float(1 / len(np.unique(targets)))


def mcc(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean over labels of Matthews' correlation (Matthews 1975), as scikit-learn's `matthews_corrcoef`.

    Args:
        chosen, targets: bool or uint8 (N, C); a label that is constant in either of them scores 0.
    """
    return _correlation(*count_labels(chosen, targets, average="macro"), len(targets))


def mcc_resampled(chosen: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `mcc`."""
    counts_of = counts_resampled(chosen, targets, average="macro")
    return lambda rows: _correlation(*counts_of(rows), len(rows))


def _correlation(hits: np.ndarray, num_chosen: np.ndarray, num_true: np.ndarray, num_rows: int) -> float:
    spreads = (counts * (num_rows - counts.astype(np.float64)) for counts in (num_chosen, num_true))
    denominator = np.sqrt(np.prod([*spreads], axis=0))
    numerator = num_rows * hits - num_chosen * num_true
    return float(np.where(denominator > 0, numerator / np.maximum(denominator, 1), 0.0).mean())


def class_mcc(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Return Matthews' correlation of classes (Gorodkin 2004), as `matthews_corrcoef`; 0 if either side is constant.

    Args:
        chosen, targets: int64 (N,).
    """
    hits, num_chosen, num_true = (counts.astype(np.float64) for counts in count_classes(chosen, targets))
    square = float(len(targets)) ** 2
    denominator = np.sqrt((square - num_chosen @ num_chosen) * (square - num_true @ num_true))
    numerator = len(targets) * hits.sum() - num_chosen @ num_true
    return float(numerator / denominator) if denominator > 0 else 0.0


def best_constant_mcc(targets: np.ndarray) -> float:
    """Return 0: a constant answer does not correlate with anything."""
    return 0.0


def quadratic_kappa(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Return Cohen's kappa with quadratic weights (Cohen 1968), as scikit-learn's `cohen_kappa_score`.

    Both arguments are grades: numbers, float (N,) or (N, 1), or class indices, int64 (N,). If all grades of both are
    equal, the score is 0.
    """
    return quadratic_kappa_resampled(chosen, targets)(np.arange(len(targets)))


def quadratic_kappa_resampled(chosen: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `quadratic_kappa`.

    Rows with the same pair of grades are counted together, so a sample costs one pass over the distinct pairs.
    """
    pairs = np.stack([chosen.reshape(len(chosen)), targets.reshape(len(targets))], 1).astype(np.float64)
    kinds, kind = np.unique(pairs, axis=0, return_inverse=True)
    kind = kind.reshape(len(pairs))
    squares, off = (kinds**2).sum(1), (kinds[:, 0] - kinds[:, 1]) ** 2

    def score(rows: np.ndarray) -> float:
        counts = np.bincount(kind[rows], minlength=len(kinds)).astype(np.float64)
        # Chance agreement comes from the sums of both columns, so no (K, K) matrix of grades is needed. The tolerance
        # keeps rounding from dividing by what should be 0 when all grades are equal.
        totals = counts @ kinds
        by_chance = counts @ squares - 2 * totals[0] * totals[1] / len(rows)
        return float(1 - counts @ off / by_chance) if by_chance > 1e-9 * (counts @ squares) else 0.0

    return score


def best_constant_quadratic_kappa(targets: np.ndarray) -> float:
    """Return 0: no constant answer is better than chance."""
    return 0.0
