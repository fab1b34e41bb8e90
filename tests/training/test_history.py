"""Decisions of validations equal torch's own scheduler and plain definitions."""

import math

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from imettk.config import StageConfig, TrainConfig
from imettk.training.history import best_index, plateau_share, validations_without_gain

LOSSES = [1.0, 0.9, 0.95, 0.9, 0.90001, 0.8, 0.85, 0.85, 0.85, 0.85, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.65, 0.9]


@pytest.mark.parametrize("validations", [1, 2, 4])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("min_gain", [0.0, 1e-4, 0.06])
def test_plateau_is_torchs(validations, lower, min_gain):
    values = LOSSES if lower else [-value for value in LOSSES]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    torchs = ReduceLROnPlateau(
        optimizer, mode="min" if lower else "max", factor=0.5, patience=validations - 1, threshold=min_gain,
        threshold_mode="abs", eps=0,
    )  # fmt: skip
    for count, value in enumerate(values, 1):
        torchs.step(value)
        ours = plateau_share(
            values[:count], factor=0.5, validations=validations, min_gain=min_gain, lower_is_better=lower
        )
        assert ours == optimizer.param_groups[0]["lr"]


def test_a_value_that_is_no_number_is_never_a_gain():
    assert validations_without_gain([1.0, math.nan, math.nan], lower_is_better=True, min_gain=0) == 2
    assert best_index([math.nan, 2.0, math.nan, 1.0], lower_is_better=True) == 3
    assert best_index([math.nan], lower_is_better=True) is None
    assert best_index([0.5, 0.7, 0.7, 0.1], lower_is_better=False) == 1  # the first of equals


def scripted(losses):
    """A validation that gives these losses one after another, and remembers the weights it saw."""
    seen = []

    def validate(network):
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return {"loss": losses[len(seen) - 1], "score": -losses[len(seen) - 1]}

    return validate, seen


@pytest.mark.parametrize("watch", ["loss", "score"])
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_the_best_weights_are_those_of_the_best_validation_over_two_sessions(make_trainer, watch, ema_decay):
    losses = [0.9, 0.5, 0.7, 0.5]  # of the 2nd and the 4th epoch: the first counts
    validate, seen = scripted(losses)
    plan = TrainConfig(loss="cross_entropy", keep="best", watch=watch, ema_decay=ema_decay)
    stages = (StageConfig(num_epochs=4, batch_size=8, lr=(0.02,)),)
    make_trainer(plan=plan, stages=stages, validate=validate, limit_steps=7).fit()
    trainer = make_trainer(plan=plan, stages=stages, validate=validate)
    assert trainer.fit() is None
    assert len(seen) == 4
    final = trainer.final_weights()
    assert all(torch.equal(value, seen[1][name]) for name, value in final.items())
    assert not all(torch.equal(value, seen[3][name]) for name, value in final.items())


def test_early_stop_ends_the_stage_and_the_next_follows_without_a_gap(make_trainer, tmp_path):
    from imettk.tracking.journal import read_journal

    validate, seen = scripted([0.9, 0.8, 0.85, 0.80001, 0.3, 0.2])
    stages = (
        StageConfig(num_epochs=50, batch_size=8, lr=(0.02,), early_stop=2),
        StageConfig(num_epochs=2, batch_size=8, lr=(0.01,)),
    )
    for steps in (5, 8, 100):  # the border between the stages lies within the second session
        trainer = make_trainer(validate=validate, stages=stages, limit_steps=steps)
        reason = trainer.fit()
    assert reason is None and trainer.at.step == 12 + 6 and trainer.num_steps == 18 and len(seen) == 6
    events = read_journal(tmp_path / "run" / "journal.jsonl")
    assert [one["step"] for one in events if one["event"] == "early_stop"] == [12]
    assert [one["step"] for one in events if one["event"] == "validate"] == [3, 6, 9, 12, 15, 18]


def test_a_plateau_lowers_the_rate_of_the_next_steps_in_any_session(make_trainer):
    validate, _ = scripted([0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    stages = (
        StageConfig(
            num_epochs=6, batch_size=8, lr=(0.08,), schedule="plateau", plateau_validations=2, plateau_factor=0.5,
            final_lr=0.3,
        ),
    )  # fmt: skip
    rates = []
    for _ in range(18):
        trainer = make_trainer(validate=validate, stages=stages, limit_steps=1)
        trainer.fit()
        rates.append(trainer._state._optimizer.param_groups[0]["lr"])
    # Validations follow steps 3, 6, 9, ...; the first is the best, the third and the fifth end a plateau.
    assert rates == pytest.approx([0.08] * 9 + [0.04] * 6 + [0.024] * 3)
