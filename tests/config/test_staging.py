"""Stages made from a single one keep its epochs and its course of the learning rate."""

from __future__ import annotations

import numpy as np
import pytest

from imettk.config import ModelConfig, Recipe, StageConfig, probe_then_tune, progressive_stages
from imettk.errors import ConfigError
from imettk.training.schedule import lr_table

STAGE = StageConfig(num_epochs=12, batch_size=16, lr=(1e-3,), warmup_epochs=1, final_lr=0.01)
SIZES = ((96, 96), (128, 128), (192, 192))


def test_smaller_images_come_in_batches_of_as_many_pixels_at_a_rate_that_fits():
    stages = progressive_stages(STAGE, image_sizes=SIZES, shares=(0.5, 0.25, 0.25))
    assert [stage.image_size for stage in stages] == list(SIZES)
    assert [stage.batch_size for stage in stages] == [64, 32, 16]  # 192^2 holds four of 96^2 and 2.25 of 128^2
    assert [stage.num_epochs for stage in stages] == [6, 3, 3]
    assert [stage.lr[0] for stage in stages] == pytest.approx([2e-3, 2**0.5 * 1e-3, 1e-3])
    assert [stage.keep_optimizer for stage in stages] == [False, True, True]
    assert [stage.warmup_epochs for stage in stages] == [1, 0, 0]
    Recipe(stages=stages)


def test_with_sgd_the_rate_is_proportional_to_the_batch():
    first, _ = progressive_stages(StageConfig(optimizer="sgd", lr=(0.1, 0.2), batch_size=4), image_sizes=SIZES[::2])
    assert first.batch_size == 16 and first.lr == pytest.approx((0.4, 0.8))


@pytest.mark.parametrize("schedule", ["cosine", "triangular"])
def test_together_the_stages_run_the_course_of_the_one(schedule):
    stage = StageConfig(num_epochs=10, schedule=schedule, final_lr=0.1)
    parts = progressive_stages(stage, batch_sizes=(32, 32, 32), shares=(0.5, 0.3, 0.2))
    tables = [lr_table(part, steps_per_epoch=1000) for part in parts]
    np.testing.assert_allclose(np.concatenate(tables), lr_table(stage, steps_per_epoch=1000), atol=1e-3)
    assert [float(table[-1]) for table in tables[:-1]] == [float(table[0]) for table in tables[1:]]


def test_batches_that_grow_keep_the_size_and_the_rate():
    stages = progressive_stages(StageConfig(schedule="constant", lr=(0.1,)), batch_sizes=(8, 16, 32))
    assert [(stage.batch_size, stage.image_size, stage.lr) for stage in stages] == [
        (8, None, (0.1,)),
        (16, None, (0.1,)),
        (32, None, (0.1,)),
    ]
    assert {stage.schedule_part for stage in stages} == {(0.0, 1.0)}


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        (STAGE, {}, "two items or more"),
        (STAGE, {"image_sizes": SIZES[:1]}, "two items or more"),
        (STAGE, {"image_sizes": SIZES, "shares": (0.5, 0.5)}, "lists of one length"),
        (STAGE, {"image_sizes": SIZES, "shares": (0.5, 0.4, 0.3)}, "sum to 1"),
        (STAGE, {"image_sizes": SIZES, "shares": (0.05, 0.45, 0.5)}, "warmup_epochs` must fit into the first"),
        (StageConfig(schedule="plateau"), {"batch_sizes": (8, 16)}, "not plateau"),
        (StageConfig(num_cycles=2), {"batch_sizes": (8, 16)}, "must be 1, got 2"),
    ],
)
def test_a_split_that_cannot_be_is_one_line(stage, settings, message):
    with pytest.raises(ConfigError, match=message):
        progressive_stages(stage, **settings)


def test_the_head_is_trained_first():
    model = ModelConfig(layer_groups=3)
    stages = probe_then_tune(StageConfig(lr=(1e-4,), layer_decay=0.7, num_epochs=5), layer_groups=3, lr=2e-3)
    Recipe(model=model, stages=stages)
    probe, tune = stages
    assert (probe.frozen_groups, probe.num_epochs, probe.lr, probe.layer_decay) == (3, 1, (2e-3,), None)
    assert (tune.frozen_groups, tune.num_epochs, tune.lr, tune.layer_decay) == (0, 5, (1e-4,), 0.7)
    with pytest.raises(ConfigError, match="`layer_groups` of probe_then_tune must be at least 1, got 0; for a group"):
        probe_then_tune(StageConfig(), layer_groups=0)


@pytest.mark.parametrize(
    "stages",
    [
        (StageConfig(keep_optimizer=True),),
        (StageConfig(optimizer="sgd"), StageConfig(keep_optimizer=True)),
        (StageConfig(frozen_groups=1), StageConfig(keep_optimizer=True)),
        (StageConfig(freeze_batchnorm=True), StageConfig(keep_optimizer=True)),
    ],
)
def test_only_the_same_optimizer_can_be_kept(stages):
    with pytest.raises(ConfigError, match=r"`stages\.\d\.keep_optimizer` needs a stage before it"):
        Recipe(stages=stages)


def test_a_part_of_a_course_is_divided_again():
    stage = StageConfig(num_epochs=10, schedule_part=(0.5, 1.0))
    sizes = progressive_stages(stage, image_sizes=SIZES[:2])
    assert [part.schedule_part for part in sizes] == [(0.5, 0.75), (0.75, 1.0)]
    batches = progressive_stages(sizes[0], batch_sizes=(8, 16), shares=(0.8, 0.2))
    assert [part.schedule_part for part in batches] == [(0.5, pytest.approx(0.7)), (pytest.approx(0.7), 0.75)]


def test_a_probe_runs_a_course_of_its_own():
    stage = StageConfig(num_epochs=8, num_cycles=4, cycle_factor=2, cycle_decay=0.5)
    probe, tune = probe_then_tune(stage, layer_groups=1)
    assert (probe.num_cycles, probe.schedule_part) == (1, (0.0, 1.0)) and tune == stage
    assert probe_then_tune(StageConfig(schedule_part=(0.5, 1)), layer_groups=1)[0].schedule_part == (0.0, 1.0)
