"""Micro-batches of a stage, from any step on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from imettk.config.stage import StageConfig
from imettk.data.dataset import Batch, ImageDataset, load_batches
from imettk.data.samplers import Sampler
from imettk.data.sampling import train_requests
from imettk.errors import ConfigError
from imettk.losses.output_loss import OutputLoss
from imettk.tasks import Task
from imettk.training.mining import Mining
from imettk.training.process_group import ProcessGroup
from imettk.training.schedule import Span


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The samples of a training, and the loss that judges them.

    Attributes:
        rows: of the tables behind the datasets, int64 (N,).
        seed: of the training's fold: all of its random numbers are a function of it and of the position.
        dataset_for: returns the dataset of a stage.
        loss_for: returns the loss of a stage.
        num_valid: samples of a validation, to estimate the first one's time.
        targets: of `rows`, as the task has them; for samplers that go by them.
        repeats: how often each of `rows` comes in an epoch, float64 (N,); None is once.
        prior: mean of the soft targets of `rows`, float32 (O,); None where no label smoothing goes by it.
    """

    rows: np.ndarray
    seed: int
    dataset_for: Callable[[StageConfig], ImageDataset]
    loss_for: Callable[[StageConfig], OutputLoss]
    num_outputs: int
    task: Task
    num_valid: int = 0
    targets: np.ndarray | None = None
    repeats: np.ndarray | None = None
    prior: np.ndarray | None = None

    def sampler_for(self, config: StageConfig) -> Sampler:
        """Return the sampler of a stage, before hard examples are added."""
        return Sampler(
            rows=self.rows,
            seed=self.seed,
            kind=config.sampler,
            targets=self.targets,
            task=self.task,
            repeats=self.repeats,
            batch_size=config.batch_size,
            images_per_identity=config.images_per_identity,
            cover_identities=config.cover_identities,
        )

    def samples_per_epoch(self, config: StageConfig) -> int:
        """Return the number of samples in an epoch of a stage, with the hard examples that are added."""
        return self.sampler_for(config).samples_per_epoch + round(config.hard_examples * len(self.rows))


class Feed:
    """Loader of every step's micro-batches; of several processes each loads its own part.

    Args:
        mining: chooses the hard examples, or None.
        num_workers: over all processes.
        pin: put batches in page-locked memory, for a GPU.
    """

    def __init__(
        self,
        data: TrainingData,
        mining: Mining | None,
        *,
        processes: ProcessGroup,
        num_workers: int,
        pin: bool,
    ) -> None:
        self._data, self._mining = data, mining
        self._processes, self._pin = processes, pin
        self._num_workers = -(-num_workers // processes.size)  # rounded up: none of them may be left without

    def batches(self, span: Span, step: int) -> Iterator[Batch]:
        """Yield the micro-batches from `step` of the training to the stage's end."""
        config, dataset = span.config, self._data.dataset_for(span.config)
        step, last_step = step - span.first_step, span.last_step - span.first_step
        sampler = self._data.sampler_for(config)
        while step < last_step:
            order: Callable[[int], np.ndarray] = sampler.order
            until = last_step
            if self._mining is not None and config.depends_on_losses:
                # The hard samples are known only when the epoch before is over: loaders must not prefetch beyond it.
                epoch = step // span.steps_per_epoch
                until = min(last_step, (epoch + 1) * span.steps_per_epoch)
                order = self._with_hard_examples(sampler, self._mining, config, span.first_epoch + epoch)
            # Requests are computed for any step, in O(1): nothing is replayed to get there after a kill.
            requests = train_requests(
                order,
                samples_per_epoch=span.samples_per_epoch,
                first_epoch=span.first_epoch,
                batch_size=config.batch_size,
                accumulate=config.accumulate,
                first_step=step,
                last_step=until,
                rank=self._processes.rank,
                size=self._processes.size,
            )
            yield from load_batches(dataset, requests, num_workers=self._num_workers, pin=self._pin)
            step = until

    def batches_after(self, span: Span, num_steps: int) -> Iterator[Batch]:
        """Yield micro-batches of a stage as its sampler draws them, from the epoch after its last one.

        No step trains on that epoch, and no loss decides about it: it is a function of the plan alone.
        """
        config, sampler = span.config, self._data.sampler_for(span.config)
        requests = train_requests(
            sampler.order,
            samples_per_epoch=sampler.samples_per_epoch,
            first_epoch=span.first_epoch + math.ceil((span.last_step - span.first_step) / span.steps_per_epoch),
            batch_size=config.batch_size,
            accumulate=config.accumulate,
            first_step=0,
            last_step=num_steps,
            rank=self._processes.rank,
            size=self._processes.size,
        )
        dataset = self._data.dataset_for(config)
        yield from load_batches(dataset, requests, num_workers=self._num_workers, pin=self._pin)

    def _with_hard_examples(
        self, sampler: Sampler, mining: Mining, config: StageConfig, epoch: int
    ) -> Callable[[int], np.ndarray]:
        """Return the order of an epoch with hard examples added, or of all samples with the hardest first."""
        rows = sampler.order(epoch)
        if config.sampler != "hard_first":
            hard = mining.extra_rows(epoch, config.hard_examples)
            return Sampler(rows=np.concatenate([rows, hard]), seed=self._data.seed).order
        hard = mining.extra_rows(epoch, 1.0)
        rank = np.empty(int(hard.max()) + 1, np.int64)
        rank[hard] = np.arange(len(hard))
        # A remainder that fills no batch is dropped. `rows` are shuffled, so dropping the first ones leaves out
        # samples by chance; the last ones would be the easiest in every epoch.
        num_left = len(rows) % config.batch_size if len(rows) > config.batch_size else 0
        left, seen = rows[:num_left], rows[num_left:]
        return lambda _: np.concatenate([seen[np.argsort(rank[seen], kind="stable")], left])


def check_batches(data: TrainingData, spans: list[Span], num_processes: int, least: Sequence[int]) -> None:
    """Raise `ConfigError` if a stage's batches cannot be divided among so many processes.

    Args:
        least: the fewest samples of a micro-batch of each stage; see `least_samples`.
    """
    for span, few in zip(spans, least, strict=True):
        config, parts = span.config, span.config.accumulate * num_processes
        num_samples = min(config.batch_size, len(data.rows))
        if num_samples < parts:
            raise ConfigError(
                f"`stages.{span.stage}`: {num_processes} processes with {config.accumulate} micro-batches each need as "
                f"many samples a step, got {num_samples}; use fewer --processes"
            )
        if num_samples // parts < few:
            raise ConfigError(
                f"`stages.{span.stage}`: {num_samples} samples a step in {parts} micro-batches leave one of a single "
                "sample, which BatchNorm cannot train on: set `accumulate` lower, or train on more rows"
            )
        if num_samples % parts and data.loss_for(config).whole_batch:
            raise ConfigError(
                f"`stages.{span.stage}`: a loss over the whole batch needs equal parts, and its {num_samples} samples "
                f"are no multiple of {num_processes} processes times {config.accumulate} micro-batches"
            )
