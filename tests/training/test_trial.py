"""Steps on trial are measured, and none of them is taken for good."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training_faults import same, weights

from imettk.config import StageConfig
from imettk.losses.cross_entropy import cross_entropy
from imettk.training.trial import TrialTrainer


@pytest.mark.parametrize("stage", [{}, {"accumulate": 2, "clip_norm": 1e-3, "hard_examples": 0.5}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_noise_scale_is_that_of_its_first_steps(make_trainer, stage, dtype):
    stages = (StageConfig(num_epochs=4, batch_size=8, **stage),)
    trainer = make_trainer(stages=stages, dtype=dtype, kind=TrialTrainer)
    before = {name: value for name, value in weights(trainer).items() if "running" not in name and "num_" not in name}
    scale = trainer.noise_scale(3)
    assert same(before, weights(trainer)) and all(value.grad is None for value in trainer.network.parameters())
    if dtype is torch.float16 or stage.get("hard_examples"):
        assert scale is not None and scale > 0
        return
    (span,), gradients = trainer.spans, []
    batches = trainer._feed.batches(span, 0)
    for _ in range(3):
        batch = next(batches)
        loss = cross_entropy(trainer.network(batch.images).logits, batch.targets).mean()
        parts = torch.autograd.grad(loss, list(trainer.network.parameters()))
        gradients.append(torch.cat([part.flatten() for part in parts]).double())
    big = float(torch.stack(gradients).mean(0).square().sum())
    noise = sum(float((gradient - sum(gradients) / 3).square().sum()) for gradient in gradients) / 2  # of a batch of 8
    assert scale == pytest.approx(8 * noise / (big - noise / 3), rel=1e-4)


def test_a_loss_over_the_whole_batch_has_no_noise_scale(make_trainer):
    assert make_trainer(whole_batch=True, kind=TrialTrainer).noise_scale(3) is None


def test_the_plan_times_each_stage_and_a_validation(make_trainer):
    stages = (StageConfig(num_epochs=2, batch_size=8), StageConfig(num_epochs=1, batch_size=24, keep_optimizer=True))
    seconds, validation = make_trainer(stages=stages, kind=TrialTrainer).time_plan(2)
    assert len(seconds) == 2 and min(seconds) > 0 and validation >= 0


def test_the_longest_stage_may_keep_an_optimizer_whose_moments_are_not_at_hand(make_trainer):
    """The plan has left those of the last stage, where other layers learn."""
    first = StageConfig(num_epochs=1, batch_size=8, frozen_groups=1)
    stages = first, replace(first, num_epochs=3, keep_optimizer=True), StageConfig(num_epochs=1, batch_size=8)
    trainer = make_trainer(stages=stages, kind=TrialTrainer)
    trainer.time_plan(2)
    assert trainer.noise_scale(3) is not None


def test_the_noise_is_that_of_steps_that_share_no_sample(make_trainer):
    """An epoch has three steps of 8 samples; more of them would show the same samples again, and less noise."""
    scales = [
        make_trainer(stages=(StageConfig(num_epochs=4, batch_size=8),), kind=TrialTrainer).noise_scale(count)
        for count in (3, 8)
    ]
    assert scales[0] == scales[1]
    assert make_trainer(stages=(StageConfig(batch_size=24),), kind=TrialTrainer).noise_scale(8) is None
