"""Which samples a step sees, as pure functions of (seed, epoch): nothing here remembers anything.

A batch is asked for by a `BatchRequest`, which says where in which epoch its samples stand. So a loader can start at
any step, and its workers can draw the augmentation of each sample from its position alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

_MASK = (1 << 64) - 1


class BatchRequest(NamedTuple):
    """Some samples to load: `rows` int64 (B,) of the table, at `positions` int64 (B,) of the order of `epoch`."""

    epoch: int
    positions: np.ndarray
    rows: np.ndarray


def derive_seed(*parts: int, state: int = 0) -> int:
    """A 64-bit seed that depends on every part and on their order (splitmix64 finaliser, Steele et al. 2014).

    Args:
        state: the seed of earlier parts, to go on from.
    """
    for part in parts:
        state = (state ^ (part & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def count_steps(num_samples: int, batch_size: int) -> int:
    """Optimizer steps an epoch: whole batches only, but at least one."""
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
    """Micro-batches of the steps [first_step, last_step) of a stage, `accumulate` of them a step.

    Args:
        order: gives the rows of the table that an epoch sees, int64 (samples_per_epoch,); see `Sampler`.
        first_epoch: the number of the stage's first epoch, counted over all stages.
        rank: of `size` processes that share each micro-batch; together they see what one alone would see.
    """
    steps_per_epoch = count_steps(samples_per_epoch, batch_size)
    epoch = -1
    for step in range(first_step, last_step):
        if first_epoch + step // steps_per_epoch != epoch:
            epoch = first_epoch + step // steps_per_epoch
            rows = order(epoch)
        first = step % steps_per_epoch * batch_size
        positions = np.arange(first, min(first + batch_size, samples_per_epoch))
        for micro_batch in np.array_split(positions, accumulate):
            if size > 1:
                micro_batch = np.array_split(micro_batch, size)[rank]
            yield BatchRequest(epoch, micro_batch, rows[micro_batch])


def sequential_requests(rows: np.ndarray, batch_size: int) -> Iterator[BatchRequest]:
    """Every row once, in order."""
    for first in range(0, len(rows), batch_size):
        positions = np.arange(first, min(first + batch_size, len(rows)))
        yield BatchRequest(0, positions, rows[positions])
