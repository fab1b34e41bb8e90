"""Confidence of predictions: which are sure enough to train on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.8  # the default
EDGE = 1e-6  # probabilities are clipped to [EDGE, 1 - EDGE] before their logit


@dataclass(frozen=True)
class Selection:
    """Test rows that become pseudo labels, and the form of their targets.

    Attributes:
        confidence: of a row, at least; in [0.5, 1). None has it chosen on out-of-fold rows.
        share: without a confidence, take this share of the rows of each likeliest label, the surest ones; in (0, 1].
        power: of the probabilities, which are normalised again; above 0, 1 leaves them as they are. None has it chosen.
            Answers have none.
        hard: learn answers instead of probabilities.
    """

    confidence: float | None = CONFIDENCE
    share: float | None = None
    power: float | None = 1.0
    hard: bool = False

    @property
    def is_open(self) -> bool:
        """True if something has to be chosen."""
        return (self.confidence is None and self.share is None) or (self.power is None and not self.hard)

    def take(self, levels: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the rows that are taken, bool (N,).

        Args:
            levels: how sure each row is, float (N,).
            labels: the likeliest label of each, int64 (N,).
        """
        if self.confidence is None:
            return surest(levels, labels, 1.0 if self.share is None else self.share)
        return np.asarray(levels >= self.confidence)


def worth(sure: np.ndarray, right: np.ndarray) -> float:
    """Return the number of correct rows that would teach as much as the sure ones with their errors.

    It is n (1 - 2 e)^2 for n rows with a share e of wrong labels, by which the examples needed grow under random label
    noise (Angluin and Laird, "Learning from noisy examples", 1988); 0 if half of the labels are wrong.

    Args:
        sure: bool (N,).
        right: how right each answer is, in [0, 1], float (N,).
    """
    return float(sure.sum() * max(0.0, 2 * right[sure].mean() - 1) ** 2) if sure.any() else 0.0


def surest(levels: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
    """Return which rows are among the surest of their label, bool (N,).

    Args:
        levels: how sure each row is, float (N,).
        labels: int64 (N,).
        share: of the rows of each label, rounded up.
    """
    sure = np.zeros(len(levels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order = np.argsort(-levels[rows], kind="stable")
        sure[rows[order[: int(np.ceil(share * len(rows)))]]] = True
    return sure


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
