"""Predictions of several models made into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

Method = Literal["mean", "geometric", "rank", "max"]
FACTORS = (0.0, 0.25, 0.5, 0.8, 1.25, 2.0, 4.0)  # that a weight is tried with
MAX_ROUNDS = 10
EDGE = 1e-7  # probabilities are kept away from 0, for their logarithm


def blend(
    members: Sequence[np.ndarray], method: Method, weights: Sequence[float] | np.ndarray | None = None
) -> np.ndarray:
    """One prediction of several, float32 (N, C).

    Args:
        members: probabilities, float (N, C) each; of `rank` as `rank_shares` gives them.
        method: `mean` and `rank` are arithmetic means, `geometric` that of logarithms, `max` takes the largest.
        weights: of the members, 0 or above, not all 0; `max` leaves out those with 0.
    """
    chosen = np.ones(len(members)) if weights is None else np.asarray(weights, np.float64)
    total: np.ndarray | None = None
    for probs, weight in zip(members, chosen / chosen.sum(), strict=True):
        if weight == 0:
            continue
        if method == "max":
            total = probs.astype(np.float32) if total is None else np.maximum(total, probs)
            continue
        part = np.log(np.maximum(probs, EDGE)) if method == "geometric" else probs
        scaled = part.astype(np.float32) * np.float32(weight)
        total = scaled if total is None else total + scaled
    assert total is not None
    return np.exp(total) if method == "geometric" else total


def rank_shares(probs: np.ndarray) -> np.ndarray:
    """Each probability's rank among all of the matrix, equal ones their mean, as a share in (0, 1), float32 (N, C).

    Over the whole matrix and not label by label: what is rare stays rare, so one threshold still makes sense.
    """
    flat = probs.reshape(-1)
    order = np.argsort(flat, kind="stable")
    values = flat[order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    ends = last + 1
    starts = np.append(0, ends[:-1])
    ranks = np.empty(len(flat), np.float32)
    ranks[order] = np.repeat((starts + ends) / (2 * len(flat)), ends - starts)
    return ranks.reshape(probs.shape)


def fit_weights(
    score: Callable[[np.ndarray], float], num_members: int, *, tell: Callable[[int], object] = lambda count: None
) -> tuple[np.ndarray, float]:
    """Weights by coordinate ascent on the score itself, float64 (M,), of sum 1, and that score.

    From equal weights on, each in turn is multiplied by the factor that scores best, until none gains.

    Args:
        score: of the blend with some weights.
        tell: called with 1 after each try.
    """
    weights = np.full(num_members, 1 / num_members)
    best = score(weights)
    for _ in range(MAX_ROUNDS):
        before = best
        for member in range(num_members):
            for factor in FACTORS:
                tried = weights.copy()
                tried[member] *= factor
                if tried.sum() <= 0:
                    continue
                tried /= tried.sum()
                value = score(tried)
                tell(1)
                if value > best + 1e-9:
                    best, weights = value, tried
        if best <= before + 1e-9:
            break
    return weights, best
