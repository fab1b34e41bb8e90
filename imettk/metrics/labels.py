"""Scores of label sets and classes, as competitions compute them, in plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

Average = Literal["samples", "macro", "micro"]
EPS = float(np.finfo(np.float64).eps)  # a log loss clips probabilities to [EPS, 1 - EPS]


def f_beta(chosen: np.ndarray, targets: np.ndarray, *, beta: float, average: Average = "samples") -> float:
    """Return F-beta, as scikit-learn's `fbeta_score(zero_division=0)`.

    Args:
        chosen: the answer, bool or uint8 (N, C).
        targets: the truth, bool or uint8 (N, C).
        average: `samples` is the mean over rows, `macro` over labels, `micro` pools all (row, label) pairs.

    Returns:
        In [0, 1]; a row (or label) with nothing chosen and nothing true counts as 0.
    """
    counts = count_labels(chosen, targets, average=average)
    return float(f_beta_from_counts(*counts, beta=beta).mean())


def count_labels(
    chosen: np.ndarray, targets: np.ndarray, *, average: Average
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count hits, chosen and true labels per row (`samples`), per label (`macro`) or overall (`micro`), int64 (U,)."""
    chosen, targets = chosen.astype(bool, copy=False), targets.astype(bool, copy=False)
    hits, num_chosen, num_true = (sum_units(mask, average) for mask in (chosen & targets, chosen, targets))
    return hits, num_chosen, num_true


def sum_units(mask: np.ndarray, average: Average) -> np.ndarray:
    """Count the true entries of bool (N, C) per row (`samples`), column (`macro`) or overall (`micro`), int64 (U,)."""
    if average == "micro":
        return np.array([np.count_nonzero(mask)])
    if average == "samples":
        return np.asarray(np.count_nonzero(mask, axis=1))
    # Sums of up to 255 rows fit in a byte: several times as fast as numpy's sum of a bool column in int64.
    whole = len(mask) // 255 * 255
    parts = mask[:whole].view(np.uint8).reshape(-1, 255, mask.shape[1]).sum(1, dtype=np.uint8)
    counts: np.ndarray = parts.sum(0, dtype=np.int64) + mask[whole:].sum(0, dtype=np.int64)
    return counts


def f_beta_resampled(
    chosen: np.ndarray, targets: np.ndarray, *, beta: float, average: Average = "samples"
) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; each row is counted only once for all samples."""
    counts_of = counts_resampled(chosen, targets, average=average)
    if average == "samples":  # a row's F-beta is the same in every sample
        scores = f_beta_from_counts(*counts_of(np.arange(len(chosen))), beta=beta)
        return lambda rows: float(scores[rows].mean())
    return lambda rows: float(f_beta_from_counts(*counts_of(rows), beta=beta).mean())


def counts_resampled(
    chosen: np.ndarray, targets: np.ndarray, *, average: Average
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return a function from rows, with repeats, to the counts of `count_labels` in them."""
    truth = targets != 0
    hits, num_chosen, num_true = (_sums_of_rows(mask, average) for mask in (chosen & truth, chosen, truth))
    return lambda rows: (hits(rows), num_chosen(rows), num_true(rows))


def _sums_of_rows(mask: np.ndarray, average: Average) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from rows, with repeats, to the true entries of each unit, as `sum_units` has them."""
    counts = sum_units(mask, "samples")
    if average == "samples":
        return lambda rows: counts[rows]
    if average == "micro":
        return lambda rows: counts[rows].sum(keepdims=True)
    from scipy.sparse import csr_matrix

    # A sample's sums per label are one product with the counts of its rows; label matrices are mostly zeros.
    sparse = csr_matrix(mask, dtype=np.float64).T.tocsr()
    return lambda rows: sparse @ np.bincount(rows, minlength=len(mask))


def f_beta_from_counts(hits: np.ndarray, num_chosen: np.ndarray, num_true: np.ndarray, *, beta: float) -> np.ndarray:
    """Return (1 + beta^2) hits / (num_chosen + beta^2 num_true), elementwise float64; 0 for a denominator of 0."""
    weight = beta * beta
    denominator = num_chosen + weight * num_true
    return np.where(denominator > 0, (1 + weight) * hits / np.maximum(denominator, 1e-12), 0.0)


def accuracy(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Return the share of equal entries; both int64 (N,)."""
    return float((chosen == targets).mean())


def accuracy_resampled(chosen: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `accuracy`."""
    hits = chosen == targets
    return lambda rows: float(hits[rows].mean())


def best_constant_accuracy(targets: np.ndarray) -> float:
    """Return the share of the most frequent class; targets int64 (N,)."""
    return float(np.bincount(targets).max() / len(targets))


def log_loss(probs: np.ndarray, targets: np.ndarray, *, eps: float = EPS) -> float:
    """Return the mean over all (row, label) pairs of -log p(truth), as scikit-learn's `log_loss`.

    Current competitions are judged by it: Kaggle's own metrics and MLE-bench's graders call scikit-learn. It clips
    probabilities to [eps, 1 - eps]: 2.2e-16 for the float64 of a submission, 1e-15 before version 1.2 and in Kaggle's
    earlier log loss. Clipping matters because a network's float32 rounds confident probabilities to 0 or 1.

    Args:
        probs: (N, C).
        targets: 0 or 1, (N, C).
        eps: in (0, 0.5).
    """
    kept = np.clip(probs.astype(np.float64), eps, 1 - eps)
    return float(-np.log(np.where(targets > 0, kept, 1 - kept)).mean())


def class_log_loss(probs: np.ndarray, targets: np.ndarray, *, eps: float = EPS) -> float:
    """Return the mean of -log p(true class): probabilities (N, C), targets int64 (N,); clipped as in `log_loss`."""
    kept = np.clip(probs.astype(np.float64), eps, 1 - eps)
    return float(-np.log(kept[np.arange(len(kept)), targets]).mean())


def best_constant_log_loss(targets: np.ndarray, *, eps: float = EPS) -> float:
    """Return the log loss of each label's share of the rows; targets uint8 (N, C)."""
    return log_loss(np.broadcast_to((targets > 0).mean(0), targets.shape), targets, eps=eps)


def best_constant_class_log_loss(targets: np.ndarray, *, eps: float = EPS) -> float:
    """Return the log loss of each class's share of the rows; targets int64 (N,)."""
    shares = np.bincount(targets) / len(targets)
    return class_log_loss(np.broadcast_to(shares, (len(targets), len(shares))), targets, eps=eps)


def focal_loss(probs: np.ndarray, targets: np.ndarray, *, gamma: float = 2.0) -> float:
    """Return the mean over all (row, label) pairs of -(1 - p)^gamma log p, p the probability of the truth (no alpha).

    Lin et al., arXiv 1708.02002, eq. 4. Over a whole validation set it ranks models of rare labels without a threshold
    (HPA 2018, first place).

    Args:
        probs: (N, C).
        targets: 0 or 1, (N, C).
    """
    kept = np.clip(probs.astype(np.float64), 1e-7, 1 - 1e-7)
    right = np.where(targets > 0, kept, 1 - kept)
    return float(-((1 - right) ** gamma * np.log(right)).mean())


def label_rows(
    probs: np.ndarray, chosen: np.ndarray, targets: np.ndarray, *, beta: float
) -> dict[str, list[float | None] | np.ndarray]:
    """Return the columns of a table with one row per label: counts, precision, recall, F-beta, average precision.

    `expected` is the sum of a label's probabilities.

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
    """Return the single answer that scores best for all samples, and its score: the baseline a model has to beat.

    Args:
        targets: uint8 (N, C).

    Returns:
        The answer, bool (C,), and its score. For `samples`, labels are added one by one while F-beta rises (greedy: the
        score is the optimum or just below it); the other averages are exact.
    """
    if average != "samples":
        return _best_constant_of_labels(targets, beta=beta, average=average)
    num_true = targets.sum(1).astype(np.float64)
    hits, answer, best = np.zeros(len(targets)), np.zeros(targets.shape[1], bool), 0.0
    while not answer.all():
        denominators = (answer.sum() + 1) + beta * beta * num_true
        # The mean over samples of (1 + b^2)(hits + target) / denominator, for every label that could be added.
        scores = (1 + beta * beta) * ((hits / denominators).sum() + (1 / denominators) @ targets) / len(targets)
        scores[answer] = -1  # already in the answer
        label = int(scores.argmax())
        if scores[label] <= best:
            break
        best, answer[label] = float(scores[label]), True
        hits += targets[:, label]
    return answer, best


def best_constant_f_beta(targets: np.ndarray, *, beta: float, average: Average = "samples") -> float:
    """Return the score of `best_constant`."""
    return best_constant(targets, beta=beta, average=average)[1]


def _best_constant_of_labels(targets: np.ndarray, *, beta: float, average: Average) -> tuple[np.ndarray, float]:
    """Choose every label that occurs (`macro`), or the most frequent ones, as many as score best (`micro`)."""
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
