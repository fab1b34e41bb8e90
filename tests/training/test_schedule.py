"""Learning rates and spans as functions of the step."""

import math

import numpy as np
import pytest
import torch
from warmup_scheduler import GradualWarmupScheduler

from imettk.config import StageConfig
from imettk.errors import ConfigError
from imettk.tasks import TASKS
from imettk.training.feed import TrainingData
from imettk.training.schedule import cycle_ends, lr_table, plan_spans


def test_cosine_equals_torch_from_the_hand_over_on():
    config = StageConfig(num_epochs=4, warmup_epochs=1, warmup_start=0.1, final_lr=0.2)
    table = lr_table(config, steps_per_epoch=10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=29, eta_min=0.2)
    for step in range(10, 40):
        assert table[step] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        cosine.step()


@pytest.mark.filterwarnings("ignore")
def test_warmup_is_what_warmup_scheduler_gives_and_never_overshoots():
    config = StageConfig(num_epochs=3, warmup_epochs=1, warmup_start=0.01, schedule="constant")
    table = lr_table(config, steps_per_epoch=10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    library = GradualWarmupScheduler(optimizer, multiplier=100, total_epoch=10)
    expected = []
    for _ in range(11):
        expected.append(optimizer.param_groups[0]["lr"])
        library.step()
    np.testing.assert_allclose(table[:11], expected, rtol=1e-12)
    np.testing.assert_allclose(table[:11], 0.01 + 0.99 * np.arange(11) / 10)  # the closed form
    assert table[0] == pytest.approx(0.01)
    assert table.max() == 1.0


@pytest.mark.parametrize("schedule", ["cosine", "constant", "triangular", "plateau"])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 17])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
def test_every_length_gives_finite_shares_of_the_peak(schedule, num_steps, warmup):
    config = StageConfig(num_epochs=1, warmup_epochs=warmup, schedule=schedule)
    table = lr_table(config, steps_per_epoch=num_steps)
    assert table.shape == (num_steps,)
    assert (table >= 0).all() and table.max() <= 1.0


def test_spans_follow_one_another_and_count_epochs_over_all_stages():
    stages = (StageConfig(num_epochs=0.5, batch_size=10), StageConfig(num_epochs=2.25, batch_size=20))
    first, second = plan_spans(stages, [205, 205])
    assert (first.first_step, first.last_step, first.first_epoch, first.steps_per_epoch) == (0, 10, 0, 20)
    # round(2.25 * 10) = 22 steps; its epochs begin after the one that the first stage had begun
    assert (second.first_step, second.last_step, second.first_epoch, second.steps_per_epoch) == (10, 32, 1, 10)
    assert math.isclose(second.last_step - second.first_step, 2.25 * 10, abs_tol=0.5)


def test_a_stage_has_at_least_one_step():
    (span,) = plan_spans((StageConfig(num_epochs=0.001, batch_size=64),), [3])
    assert span.last_step == 1


def test_fewer_rows_than_micro_batches_are_refused():
    with pytest.raises(ConfigError, match=r"`stages.0.accumulate` must be at most the 3 training rows, got 4"):
        plan_spans((StageConfig(batch_size=8, accumulate=4),), [3])


def test_triangular_is_a_line_up_and_a_line_down():
    """iMet 2019's first stage: half an epoch, from a hundredth of the peak, which stands at a quarter."""
    config = StageConfig(num_epochs=2, warmup_epochs=0.5, warmup_start=0.01, schedule="triangular", final_lr=0.02)
    table = lr_table(config, steps_per_epoch=20)
    expected = np.interp(np.arange(40), [0, 10, 39], [0.01, 1.0, 0.02])
    np.testing.assert_allclose(table, expected)


def test_steps_are_a_function_of_the_epoch():
    """HPA 2018: 30e-5, then 15, 7.5, 3 and 1e-5 after epochs 25, 30, 35 and 40."""
    config = StageConfig(
        num_epochs=45,
        lr=(30e-5,),
        schedule="steps",
        step_epochs=(25, 30, 35, 40),
        step_lrs=(1 / 2, 1 / 4, 1 / 10, 1 / 30),
    )
    table = lr_table(config, steps_per_epoch=4) * config.lr[0]
    expected = [30e-5] * 100 + [15e-5] * 20 + [7.5e-5] * 20 + [3e-5] * 20 + [1e-5] * 20
    np.testing.assert_allclose(table, expected)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=30e-5)
    shares = dict(zip((25, 30, 35, 40), config.step_lrs, strict=True))
    torchs = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda epoch: shares[max(one for one in shares if one <= epoch)] if epoch >= 25 else 1.0
    )
    for epoch in range(45):
        assert table[epoch * 4] == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step()


def test_hard_examples_make_epochs_longer_and_an_early_end_moves_what_follows():
    stages = (StageConfig(num_epochs=4, batch_size=10, hard_examples=0.05), StageConfig(num_epochs=1, batch_size=10))
    data = TrainingData(
        rows=np.arange(200), seed=0, dataset_for=None, loss_for=None, num_outputs=1, task=TASKS["multilabel"]
    )  # fmt: skip
    samples = [data.samples_per_epoch(stage) for stage in stages]
    first, second = plan_spans(stages, samples)
    assert (first.steps_per_epoch, first.last_step, first.samples_per_epoch) == (21, 84, 210)
    assert (second.first_step, second.last_step, second.first_epoch) == (84, 104, 4)
    first, second = plan_spans(stages, samples, {0: 30})
    assert (first.last_step, second.first_step, second.last_step, second.first_epoch) == (30, 30, 50, 2)


@pytest.mark.parametrize("factor", [1, 2])
def test_restarts_are_those_of_torch(factor):
    """torch begins the next cycle where ours has its last step, at `final_lr`, so its cycles are a step shorter."""
    config = StageConfig(num_epochs=7, warmup_epochs=1, num_cycles=2, cycle_factor=factor, final_lr=0.1)
    table = lr_table(config, steps_per_epoch=9)
    ends = cycle_ends(config, steps_per_epoch=9)
    assert ends == [[36, 63], [27, 63]][factor - 1]
    first = 9
    for last in ends:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        torchs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=last - first - 1, eta_min=0.1)
        for step in range(first, last - 1):
            assert table[step] == pytest.approx(optimizer.param_groups[0]["lr"])
            optimizer.step()
            torchs.step()
        assert table[last - 1] == pytest.approx(0.1)
        first = last


def test_a_restart_comes_back_to_a_lower_peak():
    config = StageConfig(num_epochs=3, schedule="triangular", num_cycles=3, cycle_decay=0.5, final_lr=0.3)
    table = lr_table(config, steps_per_epoch=5)
    expected = [np.linspace(peak, 0.3, 5) for peak in (1.0, 0.5, 0.3)]  # never below the end
    np.testing.assert_allclose(table, np.concatenate(expected))


def test_a_stage_without_restarts_is_one_cycle():
    for schedule in ("cosine", "constant"):
        config = StageConfig(num_epochs=1.5, warmup_epochs=0.5, schedule=schedule)
        assert cycle_ends(config, steps_per_epoch=10) == [15]


def test_more_cycles_than_steps_are_refused():
    stages = (StageConfig(num_epochs=1, batch_size=8, num_cycles=4),)
    with pytest.raises(ConfigError, match=r"`stages.0.num_cycles` must leave each cycle a step: 4 cycles .* 3 steps"):
        plan_spans(stages, [24])
    with pytest.raises(ConfigError, match="1 unless `schedule` is cosine or triangular"):
        StageConfig(schedule="constant", num_cycles=2)
    with pytest.raises(ConfigError, match="above 1 where `cycle_factor`"):
        StageConfig(cycle_factor=2)
