"""The plan of a training: stage, epoch and learning rate of every step, as functions of the step alone.

No scheduler object is stepped: a table is computed from the recipe, so that there is nothing to resume.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim import SGD

from imettk.config.stage import StageConfig
from imettk.data.sampling import count_steps
from imettk.errors import ConfigError
from imettk.training.history import plateau_share


@dataclass(frozen=True)
class Span:
    """Steps of a stage within the training, [first_step, last_step); epochs are counted over all stages."""

    stage: int
    config: StageConfig
    first_step: int
    last_step: int
    first_epoch: int
    steps_per_epoch: int
    samples_per_epoch: int


def plan_spans(
    stages: tuple[StageConfig, ...], num_samples: Sequence[int], early_ends: Mapping[int, int] | None = None
) -> list[Span]:
    """Return the span of each stage in turn; a stage with a fraction of an epoch ends in the middle of it.

    Args:
        num_samples: in an epoch of each stage.
        early_ends: by stage, the number of its steps after which an early stop ended it.
    """
    spans: list[Span] = []
    step, epoch = 0, 0
    for number, (config, samples_per_epoch) in enumerate(zip(stages, num_samples, strict=True)):
        if samples_per_epoch < config.accumulate:
            raise ConfigError(
                f"`stages.{number}.accumulate` must be at most the {samples_per_epoch} training rows, "
                f"got {config.accumulate}"
            )
        steps_per_epoch = count_steps(samples_per_epoch, config.batch_size)
        ends = cycle_ends(config, steps_per_epoch=steps_per_epoch)
        if len({_lengths(config, steps_per_epoch)[1], *ends}) <= config.num_cycles:
            raise ConfigError(
                f"`stages.{number}.num_cycles` must leave each cycle a step: {config.num_cycles} cycles do not fit "
                f"into {ends[-1]} steps, so choose fewer or a larger `num_epochs`"
            )
        # An early stop moves all later stages, so it has to be known again after a kill: it is in the position.
        num_steps = (early_ends or {}).get(number) or ends[-1]
        spans.append(Span(number, config, step, step + num_steps, epoch, steps_per_epoch, samples_per_epoch))
        step += num_steps
        epoch += math.ceil(num_steps / steps_per_epoch)
    return spans


def validation_interval(span: Span, validate_epochs: float) -> int:
    """Return the steps from one validation of a stage to the next."""
    return max(1, round(validate_epochs * span.steps_per_epoch))


def validated_steps(spans: Sequence[Span], validate_epochs: float) -> list[int]:
    """Return the steps after which a training is validated; the last one of each stage always is."""
    steps: list[int] = []
    for span in spans:
        interval = validation_interval(span, validate_epochs)
        steps += [*range(span.first_step + interval, span.last_step, interval), span.last_step]
    return steps


def lr_table(config: StageConfig, *, steps_per_epoch: int) -> np.ndarray:
    """Return the learning rate of each step of a stage as a share of its peak, float64 (steps of the stage,).

    Linear warmup up to the peak, then `config.schedule`. Cosine and triangular start at the peak and reach `final_lr`
    in the last step of each cycle (SGDR, arXiv 1608.03983, eq. 5), unless the stage runs only a part of their course;
    `steps` counts epochs from the stage's start; for plateau, rates before any plateau.
    """
    num_steps, num_warmup = _lengths(config, steps_per_epoch)
    table = np.ones(num_steps)
    if config.schedule in ("cosine", "triangular"):
        first, peak, (start, end) = num_warmup, 1.0, config.schedule_part
        for last in cycle_ends(config, steps_per_epoch=steps_per_epoch):
            progress = start + (end - start) * np.arange(last - first) / max(1, last - first - 1)
            if config.schedule == "cosine":
                table[first:last] = config.final_lr + (peak - config.final_lr) * (1 + np.cos(np.pi * progress)) / 2
            else:
                table[first:last] = peak - (peak - config.final_lr) * progress
            first, peak = last, max(config.final_lr, peak * config.cycle_decay)
    elif config.schedule == "steps":
        for epochs, share in zip(config.step_epochs, config.step_lrs, strict=True):
            table[round(epochs * steps_per_epoch) :] = share
    if num_warmup > 0:
        table[:num_warmup] = _warmup(num_warmup, start=config.warmup_start)
    return table


def cycle_ends(config: StageConfig, *, steps_per_epoch: int) -> list[int]:
    """Return the numbers of steps, from the stage's start, after which its cycles end; the last ends the stage.

    The first cycle begins after the warmup. A cycle is `cycle_factor` times as long as the one before it, to the
    nearest step. Without restarts the stage is one cycle.
    """
    num_steps, num_warmup = _lengths(config, steps_per_epoch)
    lengths = config.cycle_factor ** np.arange(config.num_cycles)
    ends = num_warmup + np.round((num_steps - num_warmup) * np.cumsum(lengths) / lengths.sum())
    return [int(end) for end in ends]


def _lengths(config: StageConfig, steps_per_epoch: int) -> tuple[int, int]:
    """Return the steps of a stage, and those of its warmup, which leaves one step at the peak at least."""
    num_steps = max(1, round(config.num_epochs * steps_per_epoch))
    return num_steps, min(round(config.warmup_epochs * steps_per_epoch), num_steps - 1)


def lr_shares(span: Span, metrics: Sequence[float], *, lower_is_better: bool) -> list[float]:
    """Return the share of the peak learning rate in each step of a stage.

    Args:
        metrics: of the stage's validations so far, which decide about plateaus.
    """
    config = span.config
    table = lr_table(config, steps_per_epoch=span.steps_per_epoch)
    if config.schedule == "plateau":
        left = plateau_share(
            metrics,
            factor=config.plateau_factor,
            validations=config.plateau_validations,
            min_gain=config.min_gain,
            lower_is_better=lower_is_better,
        )
        table *= max(left, config.final_lr)
    return [float(share) for share in table]


def _warmup(num_steps: int, *, start: float) -> np.ndarray:
    """Return the shares of warmup-scheduler, tabulated once with a dummy optimizer.

    Its state cannot be resumed, it starts at 0 with `multiplier=1`, and it overshoots where it hands over to
    another scheduler; so it only fills this table: from `start` at step 0 to 1 at step `num_steps`, where what follows
    is ours.
    """
    from warmup_scheduler import GradualWarmupScheduler

    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that it steps before the optimizer does
        scheduler = GradualWarmupScheduler(optimizer, multiplier=1 / start, total_epoch=num_steps)
        values = []
        for _ in range(num_steps):
            values.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
    return np.array(values)
