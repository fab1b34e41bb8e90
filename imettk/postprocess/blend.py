"""Blends of several models' predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

Method = Literal["mean", "geometric", "rank", "max"]
FACTORS = (0.0, 0.25, 0.5, 0.8, 1.25, 2.0, 4.0)  # tried on each weight
MAX_ROUNDS = 10
EDGE = 1e-7  # lower bound of probabilities before their logarithm


def blend(
    members: Sequence[np.ndarray], method: Method, weights: Sequence[float] | np.ndarray | None = None
) -> np.ndarray:
    """Return one prediction from several, float32 (N, C).

    Args:
        members: probabilities, float (N, C) each; for `rank` the results of `rank_shares`.
        method: `mean` and `rank` are arithmetic means, `geometric` is the geometric mean, `max` the largest value.
        weights: one per member, 0 or above, not all 0; `max` only leaves out members of weight 0.
    """
    shares = np.ones(len(members)) if weights is None else np.asarray(weights, np.float64)
    total: np.ndarray | None = None
    # Summed member by member: a stack of all would need their memory at once.
    for probs, weight in zip(members, shares / shares.sum(), strict=True):
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
    """Return each probability's rank in the matrix as a share in (0, 1), float32 (N, C); ties share their mean rank.

    Ranks are over the whole matrix, not per label: rare labels stay rare, so a single threshold still makes sense.
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
    """Return weights found by coordinate ascent on the score, float64 (M,), summing to 1, and that score.

    Starting from equal weights, each in turn is multiplied by the factor that scores best, until no change gains.

    Args:
        score: (weights) -> score of the blend, higher is better.
        tell: called with 1 after each candidate.
    """
    weights = np.full(num_members, 1 / num_members)
    best = score(weights)
    for _ in range(MAX_ROUNDS):
        before = best
        for member in range(num_members):
            for factor in FACTORS:
                candidate = weights.copy()
                candidate[member] *= factor
                if candidate.sum() <= 0:
                    continue
                candidate /= candidate.sum()
                value = score(candidate)
                tell(1)
                if value > best + 1e-9:
                    best, weights = value, candidate
        if best <= before + 1e-9:
            break
    return weights, best
