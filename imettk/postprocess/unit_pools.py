"""Pools of a unit's predictions over its images: the rows of `config.choices.UNIT_POOLS`.

In shapes, N is the number of images, U of units and O of network outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Pool = Callable[[np.ndarray, "Members", int], np.ndarray]  # (float64 (N, O), members, k) -> float64 (U, O)


@dataclass(frozen=True, eq=False)
class Members:
    """The unit of each image.

    Attributes:
        unit: index of each image's unit, int64 (N,); every unit in [0, U) has an image.
    """

    unit: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        """The images sorted by unit, int64 (N,)."""
        return np.argsort(self.unit, kind="stable")

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of images of each unit, int64 (U,)."""
        return np.bincount(self.unit)

    @property
    def starts(self) -> np.ndarray:
        """Index of each unit's first image among sorted images, int64 (U,)."""
        return np.asarray(np.cumsum(self.counts) - self.counts)

    def reduce(self, ufunc: np.ufunc, values: np.ndarray) -> np.ndarray:
        """Reduce each unit's values with a ufunc, (N, O) -> (U, O)."""
        return np.asarray(ufunc.reduceat(values[self.order], self.starts, axis=0))


def mean(probs: np.ndarray, members: Members, k: int) -> np.ndarray:
    """Return the mean of each unit's predictions."""
    return np.asarray(members.reduce(np.add, probs) / members.counts[:, None])


def largest(probs: np.ndarray, members: Members, k: int) -> np.ndarray:
    """Return the largest of each unit's predictions, output by output."""
    return members.reduce(np.maximum, probs)


def mean_of_largest(probs: np.ndarray, members: Members, k: int) -> np.ndarray:
    """Return the mean of each unit's `k` largest predictions, or of all it has, output by output."""
    place = np.arange(len(probs)) - np.repeat(members.starts, members.counts)
    few = np.minimum(members.counts, k)
    means = np.zeros((len(few), probs.shape[1]))
    for output, column in enumerate(probs.T):
        order = np.lexsort((-column, members.unit))
        means[:, output] = np.add.reduceat(np.where(place < k, column[order], 0.0), members.starts) / few
    return means


def noisy_or(probs: np.ndarray, members: Members, k: int) -> np.ndarray:
    """Return the probability that at least one image of a unit is positive, if they were independent (Pearl 1988)."""
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
    """Return the predictions of units, (U, O), in the dtype of `probs`.

    Args:
        probs: predictions of images, float (N, O).
        size: k of a pool of the largest predictions.
        parts: sizes of the groups of outputs that sum to 1 and are normalised again, O in all; () if none do.
        positive: of two outputs that sum to 1, the one that is pooled; the other becomes 1 minus it.
    """
    if not len(probs):  # an empty test set: `reduceat` refuses empty arrays
        return probs
    values = probs.astype(np.float64)
    if positive is not None:
        pooled = np.empty((len(members.counts), 2))
        pooled[:, positive] = pool(values[:, [positive]], members, size)[:, 0]
        pooled[:, 1 - positive] = 1 - pooled[:, positive]
    else:
        pooled = pool(values, members, size)
        for part in np.split(pooled, np.cumsum(parts)[:-1], axis=1) if parts else ():
            part /= np.maximum(part.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    return pooled.astype(probs.dtype)
