"""Stages made from a single one: images or batches that grow, and a head that is trained first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from imettk.config.stage import StageConfig
from imettk.errors import ConfigError


def progressive_stages(
    stage: StageConfig,
    *,
    image_sizes: Sequence[tuple[int, int]] | None = None,
    batch_sizes: Sequence[int] | None = None,
    shares: Sequence[float] | None = None,
) -> tuple[StageConfig, ...]:
    """Split a stage into stages whose images or batches grow, on one course of the learning rate.

    Small images cost less, so most epochs are cheap and the last ones see the details (progressive resizing: Karras et
    al., arXiv 1710.10196; Tan and Le, arXiv 2104.00298). Batches that grow take the place of a falling learning rate
    (Smith et al., arXiv 1711.00489). The optimizer's moments go on from stage to stage.

    Args:
        stage: its `batch_size` and `lr` belong to the last of the stages.
        image_sizes: (height, width) of each stage in pixels; None keeps the stage's own.
        batch_sizes: of each stage. None gives smaller images a batch of as many pixels as the last one's, rounded down
            to a multiple of its size, which takes the same memory, and a learning rate that fits: times the root of
            the ratio of the batches (Adam: Malladi et al., arXiv 2205.10287), for SGD times the ratio (Goyal et al.,
            arXiv 1706.02677).
        shares: of the stage's epochs, summing to 1; None for equal shares.

    Raises:
        ConfigError: the lists differ in length, or the stage's schedule or warmup cannot be split.
    """
    given = [part for part in (image_sizes, batch_sizes, shares) if part is not None]
    count = len(given[0]) if given else 0
    if count < 2 or any(len(part) != count for part in given):
        raise ConfigError(
            "`progressive_stages` needs `image_sizes` or `batch_sizes` with two items or more, and lists of one length"
        )
    shares = [1 / count] * count if shares is None else shares
    _check_split(stage, shares)
    sizes: Sequence[tuple[int, int] | None] = image_sizes or [stage.image_size] * count
    first, last = stage.schedule_part
    ends = [first, *(first + (last - first) * sum(shares[:number]) for number in range(1, count)), last]
    whole = stage.schedule == "constant"
    stages = []
    for number, size in enumerate(sizes):
        batch_size = batch_sizes[number] if batch_sizes else _fitting_batch(stage, size, sizes[-1])
        part = replace(
            stage,
            num_epochs=stage.num_epochs * shares[number],
            image_size=size,
            batch_size=batch_size,
            lr=stage.lr if batch_sizes else _fitting_rates(stage, batch_size),
            schedule_part=stage.schedule_part if whole else (ends[number], ends[number + 1]),
            warmup_epochs=0.0 if number else stage.warmup_epochs,
            keep_optimizer=number > 0 or stage.keep_optimizer,
        )
        stages.append(part)
    return tuple(stages)


def _check_split(stage: StageConfig, shares: Sequence[float]) -> None:
    """Raise `ConfigError` unless a stage can be split into these shares of its epochs."""
    if min(shares) <= 0 or not math.isclose(sum(shares), 1):
        raise ConfigError(f"`shares` of `progressive_stages` must be above 0 and sum to 1, got {list(shares)}")
    if stage.schedule not in ("cosine", "triangular", "constant"):
        raise ConfigError(
            f"`progressive_stages` takes a schedule of cosine, triangular or constant, not {stage.schedule}"
        )
    if stage.num_cycles > 1:
        raise ConfigError(f"`progressive_stages` splits a single cycle: `num_cycles` must be 1, got {stage.num_cycles}")
    if stage.warmup_epochs > stage.num_epochs * shares[0]:
        raise ConfigError(
            f"`warmup_epochs` must fit into the first of the stages, {stage.num_epochs * shares[0]:g} epochs, got "
            f"{stage.warmup_epochs:g}"
        )


def _fitting_batch(stage: StageConfig, size: tuple[int, int] | None, last: tuple[int, int] | None) -> int:
    """Return the multiple of the stage's batch that takes at most the memory of its own batch at the last size."""
    if size is None or last is None:
        return stage.batch_size
    return stage.batch_size * max(1, math.prod(last) // math.prod(size))


def _fitting_rates(stage: StageConfig, batch: int) -> tuple[float, ...]:
    power = 1.0 if stage.optimizer == "sgd" else 0.5
    return tuple(rate * (batch / stage.batch_size) ** power for rate in stage.lr)


def probe_then_tune(
    stage: StageConfig, *, layer_groups: int, num_epochs: float = 1.0, lr: float = 1e-3
) -> tuple[StageConfig, StageConfig]:
    """Return a stage that trains only the head, and then the given one.

    A head that begins at random sends gradients through the backbone that distort its pretrained features; one that is
    fitted first does so less, above all for images unlike those of the pretraining (Kumar et al., arXiv 2202.10054).

    Args:
        layer_groups: `model.layer_groups` of the recipe: all of them are frozen in the first stage.
        num_epochs, lr: of the first stage.

    Raises:
        ConfigError: `layer_groups` is 0, which is not the number of groups but makes one of each block.
    """
    if layer_groups < 1:
        raise ConfigError(
            f"`layer_groups` of probe_then_tune must be at least 1, got {layer_groups}; for a group of each block give "
            "the number of blocks plus 1, for the stem"
        )
    probe = replace(
        stage,
        num_epochs=num_epochs,
        lr=(lr,),
        layer_decay=None,
        warmup_epochs=0.0,
        frozen_groups=layer_groups,
        keep_optimizer=False,
        num_cycles=1,
        cycle_factor=1.0,
        cycle_decay=1.0,
        schedule_part=(0.0, 1.0),
    )
    return probe, stage
