"""Agreement of answers with the truth beyond what chance gives: balanced accuracy, Matthews' correlation, kappa."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.metrics.f1 import count_classes
from imettk.metrics.labels import count_labels, counts_resampled


def balanced_accuracy(chosen: np.ndarray, targets: np.ndarray) -> float:
    """The mean over labels of scikit-learn's `balanced_accuracy_score`: recall of rows with it and of rows without.

    Args:
        chosen: bool or uint8 (N, C).
        targets: bool or uint8 (N, C); where all rows of a label are alike, it has one recall alone.
    """
    return _balanced(*count_labels(chosen, targets, average="macro"), len(targets))


def balanced_accuracy_resampled(chosen: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Balanced accuracy of rows drawn with repeats."""
    counts_of = counts_resampled(chosen, targets, average="macro")
    return lambda rows: _balanced(*counts_of(rows), len(rows))


def _balanced(hits: np.ndarray, num_chosen: np.ndarray, num_true: np.ndarray, num_rows: int) -> float:
    num_false = num_rows - num_true
    right = num_false - (num_chosen - hits)
    recalls = hits / np.maximum(num_true, 1) + right / np.maximum(num_false, 1)
    return float((recalls / ((num_true > 0).astype(int) + (num_false > 0))).mean())


def class_balanced_accuracy(chosen: np.ndarray, targets: np.ndarray) -> float:
    """The mean recall of the classes that are true in some row, as `balanced_accuracy_score`; both int64 (N,)."""
    hits, _, num_true = count_classes(chosen, targets)
    known = num_true > 0
    return float((hits[known] / num_true[known]).mean())


def best_constant_balanced_accuracy(targets: np.ndarray) -> float:
    """One recall of 1 among as many as each label has; targets (N, C)."""
    return balanced_accuracy((targets > 0).mean(0, keepdims=True).repeat(len(targets), 0) > 0.5, targets)


def best_constant_class_balanced_accuracy(targets: np.ndarray) -> float:
    """One recall of 1 among the classes; targets int64 (N,)."""
    return float(1 / len(np.unique(targets)))


def mcc(chosen: np.ndarray, targets: np.ndarray) -> float:
    """The mean over labels of Matthews' correlation, as scikit-learn's `matthews_corrcoef`.

    Args:
        chosen, targets: bool or uint8 (N, C). A label that is chosen, or true, in all rows or in none counts as 0.
    """
    return _correlation(*count_labels(chosen, targets, average="macro"), len(targets))


def mcc_resampled(chosen: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Matthews' correlation of rows drawn with repeats."""
    counts_of = counts_resampled(chosen, targets, average="macro")
    return lambda rows: _correlation(*counts_of(rows), len(rows))


def _correlation(hits: np.ndarray, num_chosen: np.ndarray, num_true: np.ndarray, num_rows: int) -> float:
    spreads = (counts * (num_rows - counts.astype(np.float64)) for counts in (num_chosen, num_true))
    below = np.sqrt(np.prod([*spreads], axis=0))
    above = num_rows * hits - num_chosen * num_true
    return float(np.where(below > 0, above / np.maximum(below, 1), 0.0).mean())


def class_mcc(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Matthews' correlation of classes (Gorodkin 2004), as `matthews_corrcoef`; 0 where one of both is constant.

    Args:
        chosen, targets: int64 (N,).
    """
    hits, num_chosen, num_true = (counts.astype(np.float64) for counts in count_classes(chosen, targets))
    square = float(len(targets)) ** 2
    below = np.sqrt((square - num_chosen @ num_chosen) * (square - num_true @ num_true))
    return float((len(targets) * hits.sum() - num_chosen @ num_true) / below) if below > 0 else 0.0


def best_constant_mcc(targets: np.ndarray) -> float:
    """Nothing that is constant correlates."""
    return 0.0


def quadratic_kappa(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights (Cohen 1968), as `cohen_kappa_score(weights="quadratic", labels=...)`.

    Both are grades whose distance counts: numbers, float (N,) or (N, 1), or those of classes, int64 (N,). Where all of
    both are the same grade, it is 0.
    """
    return quadratic_kappa_resampled(chosen, targets)(np.arange(len(targets)))


def quadratic_kappa_resampled(chosen: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Quadratic kappa of rows drawn with repeats: rows with the same pair of grades are counted together."""
    pairs = np.stack([chosen.reshape(len(chosen)), targets.reshape(len(targets))], 1).astype(np.float64)
    kinds, kind = np.unique(pairs, axis=0, return_inverse=True)
    kind = kind.reshape(len(pairs))
    squares, off = (kinds**2).sum(1), (kinds[:, 0] - kinds[:, 1]) ** 2

    def score(rows: np.ndarray) -> float:
        counts = np.bincount(kind[rows], minlength=len(kinds)).astype(np.float64)
        totals = counts @ kinds
        by_chance = counts @ squares - 2 * totals[0] * totals[1] / len(rows)
        return float(1 - counts @ off / by_chance) if by_chance > 1e-9 * (counts @ squares) else 0.0

    return score


def best_constant_quadratic_kappa(targets: np.ndarray) -> float:
    """No constant is better than chance."""
    return 0.0
