"""Metrics of several questions a row: chosen and true labels (N, C) hold one class of each of Q questions.

Each label belongs to one question and the labels of a question are adjacent, so a row's labels are its answers in
order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.metrics.f1 import count_classes
from imettk.metrics.labels import EPS
from imettk.metrics.values import target_weights


def classes_of(labels: np.ndarray) -> np.ndarray:
    """Return the label of each question, int64 (N, Q), from bool or uint8 (N, C) with Q labels in each row."""
    return np.nonzero(labels)[1].reshape(len(labels), -1)


def macro_recall(chosen: np.ndarray, targets: np.ndarray, *, weights: str = "") -> float:
    """Return the mean over questions of scikit-learn's `recall_score(average="macro", zero_division=0)`.

    A class that is neither chosen nor true in any row is left out; every other class counts, even with a recall of 0.

    Args:
        chosen, targets: bool or uint8 (N, C).
        weights: of the questions, in the format of `target_weights`: "2 1 1" in Bengali.AI 2019.
    """
    # A score is the bootstrap sample with each row once: with a single implementation the two cannot disagree.
    return macro_recall_resampled(chosen, targets, weights=weights)(np.arange(len(targets)))


def macro_recall_resampled(
    chosen: np.ndarray, targets: np.ndarray, *, weights: str = ""
) -> Callable[[np.ndarray], float]:
    """Return a function from rows, with repeats, to their macro recall."""
    answers, truth = classes_of(chosen), classes_of(targets)
    shares = target_weights(weights, truth.shape[1])
    return lambda rows: float(shares @ [_recall(*pair) for pair in zip(answers[rows].T, truth[rows].T, strict=True)])


def _recall(answers: np.ndarray, truth: np.ndarray) -> float:
    hits, num_chosen, num_true = count_classes(answers, truth)
    seen = num_chosen + num_true > 0
    return float((hits[seen] / np.maximum(num_true[seen], 1)).mean())


def best_constant_macro_recall(targets: np.ndarray, *, weights: str = "") -> float:
    """Return the mean of 1 / (classes of the question): a constant answer has recall 1 for one class of each."""
    truth = classes_of(targets)
    return float(target_weights(weights, truth.shape[1]) @ [1 / len(np.unique(column)) for column in truth.T])


def question_accuracy(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Return the share of correct answers over all questions and rows; both bool or uint8 (N, C)."""
    return float((classes_of(chosen) == classes_of(targets)).mean())


def best_constant_question_accuracy(targets: np.ndarray) -> float:
    """Return the mean over questions of the most frequent class's share."""
    return float(np.mean([np.bincount(column).max() / len(column) for column in classes_of(targets).T]))


def question_log_loss(probs: np.ndarray, targets: np.ndarray, *, eps: float = EPS) -> float:
    """Return the mean over rows and questions of -log p(true class), with p clipped to [eps, 1 - eps].

    Args:
        probs: float (N, C), summing to 1 within each question.
        targets: uint8 (N, C).
    """
    true = np.take_along_axis(probs, classes_of(targets), 1).astype(np.float64)
    return float(-np.log(np.clip(true, eps, 1 - eps)).mean())


def best_constant_question_log_loss(targets: np.ndarray, *, eps: float = EPS) -> float:
    """Return the log loss of each class's share of the rows."""
    return question_log_loss(np.broadcast_to((targets > 0).mean(0), targets.shape), targets, eps=eps)
