"""Which samples an epoch has, and in which order: pure functions of (seed, epoch)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imettk.config.choices import SAMPLERS
from imettk.data.sampling import derive_seed
from imettk.errors import ConfigError
from imettk.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """The rows of each epoch; every epoch has the same number of them.

    Attributes:
        rows: training samples' positions in the table, int64 (N,).
        kind: a row of SAMPLERS; see `StageConfig`.
        targets: of these rows, as `task` has them; both are for `balanced` and `identities`.
        repeats: how often each row comes in an epoch, float64 (N,); None is once. Rows of one number share it out: with
            0.5, half of them come, and the others in the next epoch. `identities` draws by identity alone.
        batch_size: of `identities`, as are the next two.
        images_per_identity: K.
        cover_identities: every identity once an epoch, or random ones.
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
        """Samples in an epoch; `ConfigError` where a batch of `identities` needs more than there are."""
        if not SAMPLERS[self.kind].by_identity:
            return len(self.rows) if self.repeats is None else len(repeat_rows(self.rows, self.repeats, 0, 0))
        per_batch, num_classes = self.batch_size // self.images_per_identity, len(np.unique(self.identities))
        if per_batch > num_classes:
            raise ConfigError(
                f"a batch of {self.batch_size} with {self.images_per_identity} images an identity needs {per_batch} "
                f"identities, and there are {num_classes}: lower `batch_size`, or raise `images_per_identity`"
            )
        if self.cover_identities:
            return -(-num_classes // per_batch) * self.batch_size
        return max(1, len(self.rows) // self.batch_size) * self.batch_size

    def order(self, epoch: int) -> np.ndarray:
        """Rows of the table in the order in which the epoch sees them, int64 (samples_per_epoch,)."""
        rng = np.random.Generator(np.random.Philox(key=derive_seed(self.seed, epoch)))
        return SAMPLERS[self.kind].load()(self, rng, epoch)

    @property
    def known_targets(self) -> np.ndarray:
        """The targets, for samplers that go by them."""
        assert self.targets is not None
        return self.targets

    @property
    def identities(self) -> np.ndarray:
        """The identity of each row, int64 (N,), for samplers that go by it; `ConfigError` where the task has none."""
        assert self.task is not None
        identities = self.task.identities(self.known_targets)
        if identities is None:
            raise ConfigError("`sampler` identities needs a `table.task` whose rows have one identity each")
        return identities


def shuffled(sampler: Sampler, rng: np.random.Generator, epoch: int) -> np.ndarray:
    """Return all rows in random order, as often as they should come."""
    rows, repeats = sampler.rows, sampler.repeats
    rows = rows if repeats is None else repeat_rows(rows, repeats, sampler.seed, epoch)
    return rows[rng.permutation(len(rows))]


def balanced(sampler: Sampler, rng: np.random.Generator, epoch: int) -> np.ndarray:
    """Return rows among which every class comes as often as the others."""
    assert sampler.task is not None
    weights = np.ones(len(sampler.rows)) if sampler.repeats is None else sampler.repeats
    chances = sampler.task.chances(sampler.known_targets) * weights
    return sampler.rows[balance(chances, sampler.samples_per_epoch, rng)]


def by_identity(sampler: Sampler, rng: np.random.Generator, epoch: int) -> np.ndarray:
    """Return rows in batches of a few images of each of several identities (PK batches)."""
    classes, member = np.unique(sampler.identities, return_inverse=True)
    per_batch = sampler.batch_size // sampler.images_per_identity
    by_class = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    num_batches = sampler.samples_per_epoch // sampler.batch_size
    if sampler.cover_identities:
        chosen = _fill(rng.permutation(len(classes)), num_batches * per_batch, per_batch, rng)
    else:
        chosen = np.concatenate([rng.permutation(len(classes))[:per_batch] for _ in range(num_batches)])
    places = [_some(by_class[identity], sampler.images_per_identity, rng) for identity in chosen]
    return sampler.rows[np.concatenate(places)]


def repeat_rows(rows: np.ndarray, repeats: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Each row as often as it should come, int64 (M,), M the same in all epochs.

    Of the rows that share a number, its whole part comes always; the rest of it is a share of them, and the share moves
    on from epoch to epoch until all have come.
    """
    parts = [np.repeat(rows, np.floor(repeats).astype(np.int64))]
    for number in np.unique(repeats[repeats % 1 > 0]):
        some = rows[repeats == number]
        count = round(float(number % 1) * len(some))
        order = np.random.Generator(np.random.Philox(key=derive_seed(seed, len(parts)))).permutation(len(some))
        parts.append(some[order[(epoch * count + np.arange(count)) % len(some)]])
    return np.concatenate(parts)


def balance(chances: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Places of `count` samples, each as often as its chance says, in random order, int64 (count,).

    Drawn systematically (equal steps through the summed chances, Madow 1949), so a sample comes as often as its chance
    says, give or take less than one.

    Args:
        chances: relative to the others, float64 (N,).
    """
    order = rng.permutation(len(chances))
    ends = np.cumsum(chances[order])
    steps = (np.arange(count) + rng.random()) * (ends[-1] / count)
    places = order[np.minimum(np.searchsorted(ends, steps, side="right"), len(order) - 1)]
    return places[rng.permutation(count)]


def _fill(chosen: np.ndarray, count: int, per_batch: int, rng: np.random.Generator) -> np.ndarray:
    """The last batch filled up with identities that are not in it yet."""
    last = chosen[(len(chosen) - 1) // per_batch * per_batch :]
    others = np.setdiff1d(chosen, last)
    return np.concatenate([chosen, rng.permutation(others)[: count - len(chosen)]])


def _some(places: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` of these places: all different where there are so many, else each as often as the others."""
    rounds = [rng.permutation(places) for _ in range(-(-count // len(places)))]
    return np.concatenate(rounds)[:count]
