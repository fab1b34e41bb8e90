"""Which predictions are sure enough to train on."""

from __future__ import annotations

import numpy as np

EDGE = 1e-6  # probabilities are kept away from 0 and 1, for their logit


def row_confidence(probs: np.ndarray, thresholds: np.ndarray | None) -> np.ndarray:
    """How far each row's answer is from every doubt, float (N,).

    Of classes it is the probability of the likeliest one. Of labels, in [0.5, 1), what the probability of the most
    doubtful one would be, on the right side, if all thresholds were 0.5: each label's distance from its own threshold
    is measured in logits.

    Args:
        probs: float (N, C).
        thresholds: of each label, (C,); None for classes that exclude each other.
    """
    if thresholds is None:
        return probs.max(1)
    distance = np.abs(_logit(probs) - _logit(np.asarray(thresholds))).min(1)
    return 1 / (1 + np.exp(-distance))


def rank_confidence(probs: np.ndarray, count: int) -> np.ndarray:
    """The same where each row gets its `count` most likely labels, and no threshold: float (N,), in [0.5, 1).

    As if each row had a threshold of its own, halfway (in logits) between the least likely of its labels and the most
    likely of the others. A row that gets all labels is as sure as can be.

    Args:
        probs: float (N, C).
        count: at least 1.
    """
    if count >= probs.shape[1]:
        return np.full(len(probs), 1 - EDGE)
    logits = np.sort(_logit(probs), axis=1)[:, ::-1]
    return 1 / (1 + np.exp((logits[:, count] - logits[:, count - 1]) / 2))


def agreement(numbers: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """How far several models agree on the numbers of each row, float (N,), 1 where they say the same.

    It is 1 less the standard deviation of what they say, in the unit of each target, of the target that they are
    furthest apart in.

    Args:
        numbers: of F models, float (F, N, T).
        spread: the unit of each target: the standard deviation of true ones, (T,); 0 counts as 1.
    """
    apart = numbers.std(0, dtype=np.float64) / np.where(spread > 0, spread, 1)
    return 1 - apart.max(1)


def _logit(values: np.ndarray) -> np.ndarray:
    kept = np.clip(values.astype(np.float64), EDGE, 1 - EDGE)
    return np.log(kept / (1 - kept))
