"""Which predictions are sure enough to train on."""

from __future__ import annotations

import numpy as np

EDGE = 1e-6  # probabilities are kept away from 0 and 1, for their logit


def sure_rows(probs: np.ndarray, thresholds: np.ndarray | None, *, confidence: float) -> np.ndarray:
    """Rows whose answer is far from every doubt, bool (N,).

    Args:
        probs: float (N, C).
        thresholds: of each label, (C,); None for classes that exclude each other.
        confidence: of a class, its probability; of labels, what the probability would have to be, on either side, if
            all thresholds were 0.5: each label's distance from its own threshold is measured in logits.
    """
    if thresholds is None:
        return probs.max(1) >= confidence
    distance = np.abs(_logit(probs) - _logit(np.asarray(thresholds)))
    return distance.min(1) >= np.log(confidence / (1 - confidence))


def _logit(values: np.ndarray) -> np.ndarray:
    kept = np.clip(values.astype(np.float64), EDGE, 1 - EDGE)
    return np.log(kept / (1 - kept))
