"""The samples of an epoch and their order, as pure functions of (seed, epoch)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imettk.config.choices import SAMPLERS
from imettk.data.sampling import derive_seed
from imettk.errors import ConfigError
from imettk.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Draws the rows of each epoch; every epoch has the same number of them.

    Attributes:
        rows: training rows of the table, int64 (N,).
        kind: a row of SAMPLERS; see `StageConfig`.
        targets: targets of these rows in the form of `task`; `balanced` and `identities` need both.
        repeats: how often each row comes in an epoch, float64 (N,); None is once. Rows with the same fraction take
            turns: at 0.5, half of them come, and the others in the next epoch. `identities` ignores it.
        batch_size: used by `identities`, like the next two.
        images_per_identity: K of PK batches.
        cover_identities: draw every identity once per epoch, instead of random ones.
    """

    rows: np.ndarray
    seed: int
    kind: str = "shuffle"
    targets: np.ndarray | None = None
    task: Task | None = None
    repeats: np.ndarray | None = None
    batch_size: int = 1
    images_per_identity: int = 1
    cover_identities: bool = True

    @property
    def samples_per_epoch(self) -> int:
        """Number of samples in an epoch; `ConfigError` if a batch of `identities` needs more than there are."""
        if not SAMPLERS[self.kind].by_identity:
            return len(self.rows) if self.repeats is None else len(repeat_rows(self.rows, self.repeats, 0, 0))
        per_batch, num_classes = self.batch_size // self.images_per_identity, len(np.unique(self.identities))
        if per_batch > num_classes:
            raise ConfigError(
                f"a batch of {self.batch_size} with {self.images_per_identity} images per identity needs {per_batch} "
                f"identities, but there are {num_classes}: lower `batch_size`, or raise `images_per_identity`"
            )
        if self.cover_identities:
            return -(-num_classes // per_batch) * self.batch_size
        return max(1, len(self.rows) // self.batch_size) * self.batch_size

    def order(self, epoch: int) -> np.ndarray:
        """Return the rows of the table in the order of the epoch, int64 (samples_per_epoch,)."""
        # A generator per epoch, not one that moves on: a resumed training must not depend on how often it was called.
        rng = np.random.Generator(np.random.Philox(key=derive_seed(self.seed, epoch)))
        return SAMPLERS[self.kind].load()(self, rng, epoch)

    @property
    def known_targets(self) -> np.ndarray:
        """The targets, for samplers that need them."""
        assert self.targets is not None
        return self.targets

    @property
    def identities(self) -> np.ndarray:
        """The identity of each row, int64 (N,); `ConfigError` if the task has none."""
        assert self.task is not None
        identities = self.task.identities(self.known_targets)
        if identities is None:
            raise ConfigError("`sampler` identities needs a `table.task` with one identity per row")
        return identities


def shuffled(sampler: Sampler, rng: np.random.Generator, epoch: int) -> np.ndarray:
    """Return all rows in random order, each as often as `repeats` says."""
    rows, repeats = sampler.rows, sampler.repeats
    rows = rows if repeats is None else repeat_rows(rows, repeats, sampler.seed, epoch)
    return rows[rng.permutation(len(rows))]


def balanced(sampler: Sampler, rng: np.random.Generator, epoch: int) -> np.ndarray:
    """Return rows in which every class is equally frequent."""
    assert sampler.task is not None
    weights = np.ones(len(sampler.rows)) if sampler.repeats is None else sampler.repeats
    chances = sampler.task.chances(sampler.known_targets) * weights
    return sampler.rows[balance(chances, sampler.samples_per_epoch, rng)]


def by_identity(sampler: Sampler, rng: np.random.Generator, epoch: int) -> np.ndarray:
    """Return rows in batches with a few images of each of several identities (PK batches)."""
    classes, member = np.unique(sampler.identities, return_inverse=True)
    per_batch = sampler.batch_size // sampler.images_per_identity
    by_class = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    num_batches = sampler.samples_per_epoch // sampler.batch_size
    if sampler.cover_identities:
        chosen = _fill(rng.permutation(len(classes)), num_batches * per_batch, per_batch, rng)
    else:
        chosen = np.concatenate([rng.permutation(len(classes))[:per_batch] for _ in range(num_batches)])
    places = [_draw(by_class[identity], sampler.images_per_identity, rng) for identity in chosen]
    return sampler.rows[np.concatenate(places)]


def repeat_rows(rows: np.ndarray, repeats: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return each row as often as it should come, int64 (M,), with the same M in all epochs.

    The whole part of a row's number always comes. Rows with the same fraction share it: a fixed random order of them is
    walked through from epoch to epoch, until all have come.
    """
    parts = [np.repeat(rows, np.floor(repeats).astype(np.int64))]
    for number in np.unique(repeats[repeats % 1 > 0]):
        sharing = rows[repeats == number]
        count = round(float(number % 1) * len(sharing))
        order = np.random.Generator(np.random.Philox(key=derive_seed(seed, len(parts)))).permutation(len(sharing))
        parts.append(sharing[order[(epoch * count + np.arange(count)) % len(sharing)]])
    return np.concatenate(parts)


def balance(chances: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the places of `count` samples, each as often as its chance says, in random order, int64 (count,).

    Systematic sampling (equal steps through the summed chances, Madow 1949): the number of times that a sample comes
    differs from its expectation by less than one.

    Args:
        chances: relative to each other, float64 (N,).
    """
    order = rng.permutation(len(chances))
    ends = np.cumsum(chances[order])
    steps = (np.arange(count) + rng.random()) * (ends[-1] / count)
    places = order[np.minimum(np.searchsorted(ends, steps, side="right"), len(order) - 1)]
    return places[rng.permutation(count)]


def _fill(chosen: np.ndarray, count: int, per_batch: int, rng: np.random.Generator) -> np.ndarray:
    """Fill up the last batch with identities that are not in it yet."""
    last = chosen[(len(chosen) - 1) // per_batch * per_batch :]
    others = np.setdiff1d(chosen, last)
    return np.concatenate([chosen, rng.permutation(others)[: count - len(chosen)]])


def _draw(places: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` of these places: all different if there are enough, otherwise each equally often."""
    rounds = [rng.permutation(places) for _ in range(-(-count // len(places)))]
    return np.concatenate(rounds)[:count]
