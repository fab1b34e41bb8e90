"""Scores, as the competitions count them. Plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

Average = Literal["samples", "macro", "micro"]
EPS = float(np.finfo(np.float64).eps)  # how far a log loss keeps probabilities from 0 and 1


def f_beta(chosen: np.ndarray, targets: np.ndarray, *, beta: float, average: Average = "samples") -> float:
    """F-beta, as scikit-learn's `fbeta_score(zero_division=0)`: of all together, or a mean over labels or samples.

    Args:
        chosen: the answer, bool or uint8 (N, C).
        targets: the truth, bool or uint8 (N, C).
        average: `samples` is the mean over rows, `macro` over labels, `micro` counts all (row, label) pairs as one.

    Returns:
        In [0, 1]; a row (or label) without answer and without truth counts as 0.
    """
    counts = count_labels(chosen, targets, average=average)
    return float(f_beta_from_counts(*counts, beta=beta).mean())


def count_labels(
    chosen: np.ndarray, targets: np.ndarray, *, average: Average
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, chosen and true labels of each row (`samples`), each label (`macro`) or all (`micro`), int64 (U,)."""
    chosen, targets = chosen.astype(bool, copy=False), targets.astype(bool, copy=False)
    hits, num_chosen, num_true = (sum_units(each, average) for each in (chosen & targets, chosen, targets))
    return hits, num_chosen, num_true


def sum_units(mask: np.ndarray, average: Average) -> np.ndarray:
    """How many of a bool (N, C) are true in each row (`samples`), column (`macro`) or all (`micro`), int64 (U,)."""
    if average == "micro":
        return np.array([np.count_nonzero(mask)])
    if average == "samples":
        return np.count_nonzero(mask, axis=1)
    # Sums of up to 255 rows fit a byte: that is several times as fast as numpy's sum of a column in int64.
    whole = len(mask) // 255 * 255
    parts = mask[:whole].view(np.uint8).reshape(-1, 255, mask.shape[1]).sum(1, dtype=np.uint8)
    return parts.sum(0, dtype=np.int64) + mask[whole:].sum(0, dtype=np.int64)


def f_beta_resampled(
    chosen: np.ndarray, targets: np.ndarray, *, beta: float, average: Average = "samples"
) -> Callable[[np.ndarray], float]:
    """F-beta of rows drawn with repeats: each row is counted once for all of them."""
    counts_of = counts_resampled(chosen, targets, average=average)
    if average == "samples":  # a row's F-beta is the same in every sample
        scores = f_beta_from_counts(*counts_of(np.arange(len(chosen))), beta=beta)
        return lambda rows: float(scores[rows].mean())
    return lambda rows: float(f_beta_from_counts(*counts_of(rows), beta=beta).mean())


def counts_resampled(
    chosen: np.ndarray, targets: np.ndarray, *, average: Average
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return a function from rows, with repeats, to what `count_labels` counts in them."""
    truth = targets != 0
    hits, num_chosen, num_true = (_sums_of_rows(mask, average) for mask in (chosen & truth, chosen, truth))
    return lambda rows: (hits(rows), num_chosen(rows), num_true(rows))


def _sums_of_rows(mask: np.ndarray, average: Average) -> Callable[[np.ndarray], np.ndarray]:
    """A function from rows, with repeats, to how many are true in each unit (of `samples`: in each of these rows)."""
    counts = sum_units(mask, "samples")
    if average == "samples":
        return lambda rows: counts[rows]
    if average == "micro":
        return lambda rows: counts[rows].sum(keepdims=True)
    from scipy.sparse import csr_matrix

    sparse = csr_matrix(mask, dtype=np.float64).T.tocsr()
    return lambda rows: sparse @ np.bincount(rows, minlength=len(mask))


def f_beta_from_counts(hits: np.ndarray, num_chosen: np.ndarray, num_true: np.ndarray, *, beta: float) -> np.ndarray:
    """F-beta = (1 + beta^2) hits / (num_chosen + beta^2 num_true), elementwise float64; 0 where there is nothing."""
    weight = beta * beta
    below = num_chosen + weight * num_true
    return np.where(below > 0, (1 + weight) * hits / np.maximum(below, 1e-12), 0.0)


def accuracy(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Share of equal entries; both int64 (N,)."""
    return float((chosen == targets).mean())


def accuracy_resampled(chosen: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Accuracy of rows drawn with repeats."""
    hits = chosen == targets
    return lambda rows: float(hits[rows].mean())


def best_constant_accuracy(targets: np.ndarray) -> float:
    """The share of the most frequent class; targets int64 (N,)."""
    return float(np.bincount(targets).max() / len(targets))


def log_loss(probs: np.ndarray, targets: np.ndarray, *, eps: float = EPS) -> float:
    """Mean over all (row, label) pairs of -log of the probability of what is true, as scikit-learn's `log_loss`.

    That is what current competitions are judged by (Kaggle's own metrics and MLE-bench's graders call it). It keeps
    probabilities `eps` away from 0 and 1: 2.2e-16 in float64, as which a submission is read, and 1e-15 before
    version 1.2, as in Kaggle's log loss of old. A network's float32 rounds what it is sure of to 0 or 1.

    Args:
        probs: (N, C).
        targets: 0 or 1, (N, C).
        eps: in (0, 0.5).
    """
    kept = np.clip(probs.astype(np.float64), eps, 1 - eps)
    return float(-np.log(np.where(targets > 0, kept, 1 - kept)).mean())


def class_log_loss(probs: np.ndarray, targets: np.ndarray, *, eps: float = EPS) -> float:
    """Mean of -log of the probability of the true class: probabilities (N, C), targets int64 (N,); kept as above."""
    kept = np.clip(probs.astype(np.float64), eps, 1 - eps)
    return float(-np.log(kept[np.arange(len(kept)), targets]).mean())


def best_constant_log_loss(targets: np.ndarray, *, eps: float = EPS) -> float:
    """The log loss of each label's share of the rows; targets uint8 (N, C)."""
    return log_loss(np.broadcast_to((targets > 0).mean(0), targets.shape), targets, eps=eps)


def best_constant_class_log_loss(targets: np.ndarray, *, eps: float = EPS) -> float:
    """The log loss of each class's share of the rows; targets int64 (N,)."""
    shares = np.bincount(targets) / len(targets)
    return class_log_loss(np.broadcast_to(shares, (len(targets), len(shares))), targets, eps=eps)


def focal_loss(probs: np.ndarray, targets: np.ndarray, *, gamma: float = 2.0) -> float:
    """Mean over all (row, label) pairs of -(1 - p)^gamma log p, p the probability of what is true (no alpha).

    Over a whole validation set it ranks models of rare labels without any threshold (HPA 2018, first place).

    Args:
        probs: (N, C).
        targets: 0 or 1, (N, C).
    """
    kept = np.clip(probs.astype(np.float64), 1e-7, 1 - 1e-7)
    right = np.where(targets > 0, kept, 1 - kept)
    return float(-((1 - right) ** gamma * np.log(right)).mean())


def label_rows(
    probs: np.ndarray, chosen: np.ndarray, targets: np.ndarray, *, beta: float
) -> dict[str, list[Any] | np.ndarray]:
    """Columns of a table with a row a label: true, expected (the sum of its probabilities), chosen and hit rows,
    precision, recall, F-beta, average precision.

    Args:
        probs: float (N, C).
        chosen: bool (N, C).
        targets: uint8 (N, C).
    """
    from sklearn.metrics import average_precision_score

    hits, num_chosen, num_true = count_labels(chosen, targets, average="macro")
    precision = [
        float(average_precision_score(targets[:, label], probs[:, label])) if num_true[label] else None
        for label in range(targets.shape[1])
    ]
    return {
        "true": num_true,
        "expected": np.round(probs.sum(0, dtype=np.float64), 1),
        "chosen": num_chosen,
        "hits": hits,
        "precision": np.round(hits / np.maximum(num_chosen, 1), 4),
        "recall": np.round(hits / np.maximum(num_true, 1), 4),
        "f_beta": np.round(f_beta_from_counts(hits, num_chosen, num_true, beta=beta), 4),
        "average_precision": [None if value is None else round(value, 4) for value in precision],
    }


def best_constant(targets: np.ndarray, *, beta: float, average: Average = "samples") -> tuple[np.ndarray, float]:
    """The one answer for every sample that scores best: what a model has to beat.

    Args:
        targets: uint8 (N, C).

    Returns:
        The answer, bool (C,), and its score. Of `samples`, labels are added one by one while
        the F-beta rises (greedy: the score is the best constant's or just under it); the others are exact.
    """
    if average != "samples":
        return _best_constant_of_labels(targets, beta=beta, average=average)
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


def best_constant_f_beta(targets: np.ndarray, *, beta: float, average: Average = "samples") -> float:
    """The score of `best_constant`."""
    return best_constant(targets, beta=beta, average=average)[1]


def _best_constant_of_labels(targets: np.ndarray, *, beta: float, average: Average) -> tuple[np.ndarray, float]:
    """For macro every label that is ever true; for micro the most frequent ones, as many as score best."""
    counts = targets.sum(0, dtype=np.int64)
    if average == "macro":
        return counts > 0, float(
            f_beta_from_counts(counts, np.full(len(counts), len(targets)), counts, beta=beta).mean()
        )
    order = np.argsort(-counts, kind="stable")
    hits, chosen = np.cumsum(counts[order]), len(targets) * np.arange(1, len(counts) + 1)
    scores = f_beta_from_counts(hits, chosen, np.asarray(counts.sum()), beta=beta)
    best = int(scores.argmax())
    answer = np.zeros(len(counts), bool)
    answer[order[: best + 1]] = True
    return answer, float(scores[best])
