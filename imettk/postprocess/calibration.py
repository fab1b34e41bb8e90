"""Probabilities that mean what they say: one temperature for all, and how near to 0 and 1 they may come."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

MOST = 8.0  # the highest temperature; the lowest is its inverse
CLIPS = (0.0, 1e-5, 1e-4, 1e-3, 0.003, 0.01, 0.02, 0.05)  # that are tried
ROUNDS = 2  # in which temperature and clipping are each chosen, given the other
LEAST, LEAST_REST = float(np.finfo(np.float32).tiny), 2.0**-25  # of p and of 1 - p, where float32 says 0


def with_temperature(probs: np.ndarray, temperature: float, *, exclusive: bool) -> np.ndarray:
    """Divide logits by a temperature (Guo et al. 2017, arXiv 1706.04599), float64 (N, C): above 1 is less sure.

    Args:
        probs: float (N, C).
        temperature: above 0.
        exclusive: rows sum to 1, and become p^(1 / temperature) over its sum; else each probability has a logit of its
            own, log p / (1 - p).
    """
    from scipy.special import expit, softmax

    logits = np.log(np.maximum(probs, LEAST, dtype=np.float64))
    if exclusive:
        return softmax(logits / temperature, axis=1)
    return expit((logits - np.log(np.maximum(1 - probs.astype(np.float64), LEAST_REST))) / temperature)


def fit_calibration(loss: Callable[[float, float], float]) -> tuple[float, float]:
    """Return the temperature and the clipping of the least loss; 1 and 0, which change nothing, where none is less.

    Args:
        loss: of some rows, at a temperature and a clipping.
    """
    from scipy.optimize import minimize_scalar

    temperature, clip = 1.0, 0.0
    tried = [(temperature, clip)]
    for _ in range(ROUNDS):
        found = minimize_scalar(
            lambda log, clip=clip: loss(math.exp(log), clip),
            bounds=(-math.log(MOST), math.log(MOST)),
            method="bounded",
            options={"xatol": 1e-3},
        )
        temperature = math.exp(found.x)
        clip = min(CLIPS, key=lambda clip, temperature=temperature: loss(temperature, clip))  # type: ignore[misc]
        tried.append((temperature, clip))
    return min(tried, key=lambda pair: loss(*pair))
