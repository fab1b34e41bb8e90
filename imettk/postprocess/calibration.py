"""Calibration of probabilities: one temperature for all labels, and a distance that they keep from 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

MOST = 8.0  # the highest temperature; the lowest is its inverse
CLIPS = (0.0, 1e-5, 1e-4, 1e-3, 0.003, 0.01, 0.02, 0.05)  # candidates
ROUNDS = 2  # of choosing the temperature given the clipping, and then the clipping given the temperature
LEAST, LEAST_REST = float(np.finfo(np.float32).tiny), 2.0**-25  # stand for p and 1 - p that float32 rounded to 0


def with_temperature(probs: np.ndarray, temperature: float, *, exclusive: bool) -> np.ndarray:
    """Divide logits by a temperature (Guo et al. 2017, arXiv 1706.04599), float64 (N, C).

    Args:
        probs: float (N, C).
        temperature: above 0; a temperature above 1 makes probabilities less confident.
        exclusive: rows sum to 1 and become p^(1 / temperature), normalised. Otherwise each probability has its own
            logit, log(p / (1 - p)).
    """
    from scipy.special import expit, softmax

    logits = np.log(np.maximum(probs, LEAST, dtype=np.float64))
    if exclusive:
        return np.asarray(softmax(logits / temperature, axis=1))
    logits -= np.log(np.maximum(1 - probs.astype(np.float64), LEAST_REST))
    return np.asarray(expit(logits / temperature))


def fit_calibration(loss: Callable[[float, float], float]) -> tuple[float, float]:
    """Return the temperature and the clipping with the lowest loss; 1 and 0 (no change) if nothing is lower.

    Args:
        loss: (temperature, clipping) -> loss of some rows.
    """
    from scipy.optimize import minimize_scalar

    temperature, clip = 1.0, 0.0
    tried = [(temperature, clip)]
    for _ in range(ROUNDS):
        minimum = minimize_scalar(
            lambda log, clip=clip: loss(math.exp(log), clip),
            bounds=(-math.log(MOST), math.log(MOST)),
            method="bounded",
            options={"xatol": 1e-3},
        )
        temperature = math.exp(minimum.x)
        clip = min(CLIPS, key=lambda clip, temperature=temperature: loss(temperature, clip))  # type: ignore[misc]
        tried.append((temperature, clip))
    return min(tried, key=lambda pair: loss(*pair))
