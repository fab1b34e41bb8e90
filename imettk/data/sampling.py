"""The samples of a step, as pure functions of (seed, epoch): nothing here has state.

A `BatchRequest` states the epoch of a batch and the positions of its samples in that epoch. So a loader can start at
any step, and its workers can draw each sample's augmentation from its position alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

_MASK = (1 << 64) - 1


class BatchRequest(NamedTuple):
    """Samples to load: `rows` int64 (B,) of the table, at `positions` int64 (B,) in the order of `epoch`."""

    epoch: int
    positions: np.ndarray
    rows: np.ndarray


def derive_seed(*parts: int, state: int = 0) -> int:
    """Return a 64-bit seed that depends on every part and on their order (splitmix64 finaliser, Steele et al. 2014).

    Args:
        state: seed of earlier parts, to continue from.
    """
    for part in parts:
        state = (state ^ (part & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def count_steps(num_samples: int, batch_size: int) -> int:
    """Return the optimizer steps of an epoch: only whole batches, but at least one."""
    return max(1, num_samples // batch_size)


def train_requests(
    order: Callable[[int], np.ndarray],
    *,
    samples_per_epoch: int,
    first_epoch: int,
    batch_size: int,
    accumulate: int,
    first_step: int,
    last_step: int,
    rank: int = 0,
    size: int = 1,
) -> Iterator[BatchRequest]:
    """Yield the micro-batches of the steps [first_step, last_step) of a stage, `accumulate` per step.

    Args:
        order: returns the rows of an epoch, int64 (samples_per_epoch,); see `Sampler`.
        first_epoch: number of the stage's first epoch, counted over all stages.
        rank: this process among `size` that split each micro-batch; together they see what a single one would see.
    """
    steps_per_epoch = count_steps(samples_per_epoch, batch_size)
    epoch = -1
    # Everything below follows from `step` alone, so a resumed training requests exactly the batches that were left.
    for step in range(first_step, last_step):
        if first_epoch + step // steps_per_epoch != epoch:
            epoch = first_epoch + step // steps_per_epoch
            rows = order(epoch)
        first = step % steps_per_epoch * batch_size
        positions = np.arange(first, min(first + batch_size, samples_per_epoch))
        for micro_batch in np.array_split(positions, accumulate):
            if size > 1:  # split after accumulation: the micro-batches are those of a single process
                micro_batch = np.array_split(micro_batch, size)[rank]
            yield BatchRequest(epoch, micro_batch, rows[micro_batch])


def sequential_requests(rows: np.ndarray, batch_size: int) -> Iterator[BatchRequest]:
    """Yield every row once, in order."""
    for first in range(0, len(rows), batch_size):
        positions = np.arange(first, min(first + batch_size, len(rows)))
        yield BatchRequest(0, positions, rows[positions])
