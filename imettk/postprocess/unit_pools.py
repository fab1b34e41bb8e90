"""Predictions of a unit's images made into one: the rows of `config.choices.UNIT_POOLS`.

In shapes, N is the number of images, U of units, and O of the network's outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Pool = Callable[[np.ndarray, "Members", int], np.ndarray]  # (float64 (N, O), members, k) -> float64 (U, O)


@dataclass(frozen=True, eq=False)
class Members:
    """Which images are of which unit.

    Attributes:
        unit: the number of each image's unit, int64 (N,): every one in [0, U) has an image.
    """

    unit: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        """Images sorted by unit, int64 (N,)."""
        return np.argsort(self.unit, kind="stable")

    @cached_property
    def counts(self) -> np.ndarray:
        """Images of each unit, int64 (U,)."""
        return np.bincount(self.unit)

    @property
    def starts(self) -> np.ndarray:
        """Where each unit begins among sorted images, int64 (U,)."""
        return np.cumsum(self.counts) - self.counts

    def reduce(self, ufunc: np.ufunc, values: np.ndarray) -> np.ndarray:
        """Return what a ufunc makes of each unit's values, (N, O) -> (U, O)."""
        return ufunc.reduceat(values[self.order], self.starts, axis=0)


def mean(probs: np.ndarray, members: Members, k: int) -> np.ndarray:
    """Return the mean of each unit's predictions."""
    return members.reduce(np.add, probs) / members.counts[:, None]


def largest(probs: np.ndarray, members: Members, k: int) -> np.ndarray:
    """Return the largest of each unit's predictions, an output each."""
    return members.reduce(np.maximum, probs)


def mean_of_largest(probs: np.ndarray, members: Members, k: int) -> np.ndarray:
    """Return the mean of the `k` largest predictions of each unit, an output each; of all where it has fewer."""
    place = np.arange(len(probs)) - np.repeat(members.starts, members.counts)
    few = np.minimum(members.counts, k)
    found = np.zeros((len(few), probs.shape[1]))
    for output, column in enumerate(probs.T):
        order = np.lexsort((-column, members.unit))
        found[:, output] = np.add.reduceat(np.where(place < k, column[order], 0.0), members.starts) / few
    return found


def noisy_or(probs: np.ndarray, members: Members, k: int) -> np.ndarray:
    """Return the probability that at least one image of a unit has it, were they independent (Pearl 1988)."""
    return 1 - members.reduce(np.multiply, 1 - probs)


def pool_units(
    probs: np.ndarray,
    members: Members,
    pool: Pool,
    *,
    size: int,
    parts: Sequence[int] = (),
    positive: int | None = None,
) -> np.ndarray:
    """Return the predictions of units, as `probs`, (U, O).

    Args:
        probs: of images, float (N, O).
        size: k of a pool of the largest.
        parts: how many outputs each are shares of one whole, and made so again of a unit, O in all; () where none are.
        positive: of two shares, the one that is pooled; the other is what is left of 1.
    """
    if not len(probs):  # of an empty test set, which ufuncs do not reduce
        return probs
    values = probs.astype(np.float64)
    if positive is not None:
        found = np.empty((len(members.counts), 2))
        found[:, positive] = pool(values[:, [positive]], members, size)[:, 0]
        found[:, 1 - positive] = 1 - found[:, positive]
    else:
        found = pool(values, members, size)
        for part in np.split(found, np.cumsum(parts)[:-1], axis=1) if parts else ():
            part /= np.maximum(part.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    return found.astype(probs.dtype)
