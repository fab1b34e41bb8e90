"""How classes of several questions are judged: chosen and true labels (N, C), one of each of Q questions a row.

Each label belongs to one question, and labels of a question stand together: a row's labels are its answers in order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.metrics.f1 import count_classes
from imettk.metrics.labels import EPS
from imettk.metrics.values import target_weights


def classes_of(labels: np.ndarray) -> np.ndarray:
    """Return the label of each question, int64 (N, Q), of bool or uint8 (N, C) with as many in each row."""
    return np.nonzero(labels)[1].reshape(len(labels), -1)


def macro_recall(chosen: np.ndarray, targets: np.ndarray, *, weights: str = "") -> float:
    """The mean over questions of scikit-learn's `recall_score(average="macro", zero_division=0)`.

    A class that is neither chosen nor true in any row is left out; one that is either counts, if only as 0.

    Args:
        chosen, targets: bool or uint8 (N, C).
        weights: of the questions, as `target_weights` takes them: "2 1 1" in Bengali.AI 2019.
    """
    return macro_recall_resampled(chosen, targets, weights=weights)(np.arange(len(targets)))


def macro_recall_resampled(
    chosen: np.ndarray, targets: np.ndarray, *, weights: str = ""
) -> Callable[[np.ndarray], float]:
    """Return a function from rows, with repeats, to their macro recall."""
    given, truth = classes_of(chosen), classes_of(targets)
    shares = target_weights(weights, truth.shape[1])
    return lambda rows: float(shares @ [_recall(*pair) for pair in zip(given[rows].T, truth[rows].T, strict=True)])


def _recall(given: np.ndarray, truth: np.ndarray) -> float:
    hits, num_chosen, num_true = count_classes(given, truth)
    seen = num_chosen + num_true > 0
    return float((hits[seen] / np.maximum(num_true[seen], 1)).mean())


def best_constant_macro_recall(targets: np.ndarray, *, weights: str = "") -> float:
    """One recall of 1 among the classes of each question."""
    truth = classes_of(targets)
    return float(target_weights(weights, truth.shape[1]) @ [1 / len(np.unique(column)) for column in truth.T])


def question_accuracy(chosen: np.ndarray, targets: np.ndarray) -> float:
    """The share of right answers to all questions of all rows; both bool or uint8 (N, C)."""
    return float((classes_of(chosen) == classes_of(targets)).mean())


def best_constant_question_accuracy(targets: np.ndarray) -> float:
    """The share of each question's most frequent class, a mean over questions."""
    return float(np.mean([np.bincount(column).max() / len(column) for column in classes_of(targets).T]))


def question_log_loss(probs: np.ndarray, targets: np.ndarray, *, eps: float = EPS) -> float:
    """Mean over rows and questions of -log of the probability of the true class, kept `eps` away from 0 and 1.

    Args:
        probs: float (N, C), which sum to 1 in each question.
        targets: uint8 (N, C).
    """
    true = np.take_along_axis(probs, classes_of(targets), 1).astype(np.float64)
    return float(-np.log(np.clip(true, eps, 1 - eps)).mean())


def best_constant_question_log_loss(targets: np.ndarray, *, eps: float = EPS) -> float:
    """The log loss of each class's share of the rows."""
    return question_log_loss(np.broadcast_to((targets > 0).mean(0), targets.shape), targets, eps=eps)
