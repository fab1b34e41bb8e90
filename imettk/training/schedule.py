"""The plan of a training: which stage, epoch and learning rate every step has. Functions of the step, with no state."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim import SGD

from imettk.config import StagePlan
from imettk.data.sampling import count_steps
from imettk.errors import ConfigError


@dataclass(frozen=True)
class Span:
    """Where a stage lies in the training: steps [first_step, last_step), epochs counted over all stages."""

    stage: int
    plan: StagePlan
    first_step: int
    last_step: int
    first_epoch: int
    steps_per_epoch: int


def plan_spans(stages: tuple[StagePlan, ...], num_samples: int) -> list[Span]:
    """The span of each stage, one after another; a stage with a fraction of an epoch ends in the middle of it."""
    spans: list[Span] = []
    step, epoch = 0, 0
    for number, plan in enumerate(stages):
        if num_samples < plan.accumulate:
            raise ConfigError(
                f"`stages.{number}.accumulate` must be at most the {num_samples} training rows, got {plan.accumulate}"
            )
        steps_per_epoch = count_steps(num_samples, plan.batch_size)
        num_steps = max(1, round(plan.num_epochs * steps_per_epoch))
        spans.append(Span(number, plan, step, step + num_steps, epoch, steps_per_epoch))
        step += num_steps
        epoch += math.ceil(num_steps / steps_per_epoch)
    return spans


def lr_table(plan: StagePlan, *, num_steps: int, steps_per_epoch: int) -> np.ndarray:
    """The learning rate of each step of a stage as a share of its peak, float64 (num_steps,).

    Linear warmup up to the peak, then constant, or a cosine that starts at the peak and ends at `final_lr` in the last
    step.
    """
    num_warmup = min(round(plan.warmup_epochs * steps_per_epoch), num_steps - 1)
    table = np.ones(num_steps)
    if plan.schedule == "cosine":
        progress = np.arange(num_steps - num_warmup) / max(1, num_steps - num_warmup - 1)
        table[num_warmup:] = plan.final_lr + (1 - plan.final_lr) * (1 + np.cos(np.pi * progress)) / 2
    if num_warmup > 0:
        table[:num_warmup] = _warmup(num_warmup, start=plan.warmup_start)
    return table


def _warmup(num_steps: int, *, start: float) -> np.ndarray:
    """The values that warmup-scheduler gives, taken once from a dummy optimizer.

    Its own state cannot be resumed, it starts at 0 with `multiplier=1`, and it overshoots where it hands over to
    another scheduler; so it only fills this table: from `start` at step 0 to 1 at step `num_steps`, where what follows
    is ours.
    """
    from warmup_scheduler import GradualWarmupScheduler

    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it steps before the optimizer does, which torch remarks on
        scheduler = GradualWarmupScheduler(optimizer, multiplier=1 / start, total_epoch=num_steps)
        values = []
        for _ in range(num_steps):
            values.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
    return np.array(values)
