"""A trainer goes back after a fault, ends with the bits of a run without one, or stops with one clear line."""

from __future__ import annotations

import pytest
import torch
from training_faults import EVERY_STEP, FailingLoss, events, same, weights

from imettk.config import StageConfig
from imettk.errors import TrainingError
from imettk.losses.cross_entropy import cross_entropy
from imettk.tracking.journal import read_journal
from imettk.training.checkpoint import load_newest


def test_weights_that_are_no_numbers_are_never_kept(make_trainer, tmp_path):
    """An unclipped gradient that is no number gets by with a finite loss; the checkpoint before stays the last good."""

    class Poison:
        calls = 0

        def __call__(self, logits, targets):
            self.calls += 1
            losses = cross_entropy(logits, targets)
            return losses + (logits.sum() * 0).abs().sqrt() if self.calls == 6 else losses  # 0 * inf on the way back

    trainer = make_trainer(loss=Poison(), session=EVERY_STEP | {"nonfinite_steps": 3})
    assert trainer.fit() is None, "a passing fault: it went back and did it right"
    events = read_journal(tmp_path / "run" / "journal.jsonl")
    assert [one["step"] for one in events if one["event"] == "rollback"] == [5]
    assert all(value.isfinite().all() for value in trainer.network.state_dict().values())


def test_a_second_fault_far_behind_the_first_has_its_own_way_back(make_trainer, tmp_path):
    class Faults:
        calls = 0

        def __call__(self, logits, targets):
            self.calls += 1
            bad = self.calls in (3, 4, 5) or self.calls in (25, 26, 27)
            return cross_entropy(logits, targets) * (torch.nan if bad else 1)

    stages = (StageConfig(num_epochs=10, batch_size=8, lr=(0.02,)),)
    trainer = make_trainer(loss=Faults(), stages=stages, session=EVERY_STEP | {"nonfinite_steps": 3})
    assert trainer.fit() is None
    assert sum(one["event"] == "rollback" for one in read_journal(tmp_path / "run" / "journal.jsonl")) == 2


def test_after_a_passing_fault_it_goes_back_and_ends_with_the_same_bits(make_trainer, tmp_path):
    plain = make_trainer("plain")
    plain.fit()
    session = EVERY_STEP | {"nonfinite_steps": 3}
    trainer = make_trainer(loss=FailingLoss({6, 7, 8}), session=session)
    assert trainer.fit() is None
    assert same(weights(plain), weights(trainer))
    (back,) = events(tmp_path, "rollback")
    assert (back["step"], back["bad_step"]) == (5, 8)
    steps = [one["step"] for one in events(tmp_path, "train")]
    assert steps == [10, 12]


def test_a_lasting_fault_stops_with_one_clear_line(make_trainer):
    session = EVERY_STEP | {"nonfinite_steps": 3}
    trainer = make_trainer(loss=FailingLoss(set(range(6, 100))), session=session)
    with pytest.raises(TrainingError, match="in 3 steps in a row up to step 8, also after going back") as caught:
        trainer.fit()
    assert "lower the learning rate" in str(caught.value)


def test_without_a_checkpoint_to_go_back_to_it_stops_at_once(make_trainer):
    trainer = make_trainer(loss=FailingLoss(set(range(1, 100))), session={"nonfinite_steps": 3})
    with pytest.raises(TrainingError, match="up to step 3, with no checkpoint before it"):
        trainer.fit()


def test_the_loss_scale_is_lower_after_going_back(make_trainer):
    session = EVERY_STEP | {"nonfinite_steps": 3}
    trainer = make_trainer(loss=FailingLoss({6, 7, 8}), session=session, dtype=torch.float16)
    trainer.fit()
    assert trainer._runner.scaler.get_scale() == 65536 / 16


def test_a_pause_among_skipped_steps_keeps_the_count(make_trainer):
    """The count is part of the position: the next session does not begin it anew."""
    session = EVERY_STEP | {"nonfinite_steps": 4}
    loss = FailingLoss(set(range(6, 100)))
    make_trainer(loss=loss, session=session, limit_steps=7).fit()
    with pytest.raises(TrainingError, match="4 steps in a row up to step 9"):
        make_trainer(loss=loss, session=session).fit()


def test_going_back_past_a_damaged_checkpoint_leaves_only_good_ones(make_trainer, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    make_trainer(limit_steps=5, session=EVERY_STEP).fit()
    (folder / "step-00000005.safetensors").write_bytes(b"damaged")
    assert make_trainer(limit_steps=1).fit() is not None  # from 4 on, the damaged one is written anew
    assert load_newest([folder], warn=pytest.fail).values["position"]["step"] == 5
