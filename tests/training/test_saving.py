"""Checkpoints are written by the clock, after cheap validations, at the end, and never while steps are skipped."""

from __future__ import annotations

from training_faults import EVERY_STEP, FailingLoss

from imettk.tracking.journal import read_journal


def saved_steps(folder) -> list[int]:
    events = read_journal(folder / "run" / "journal.jsonl")
    return [event["step"] for event in events if event["event"] == "checkpoint"]


def test_each_validation_is_followed_by_a_checkpoint_if_that_costs_little(make_trainer, tmp_path):
    """Long before the 600 seconds of `session.checkpoint_seconds` have passed."""
    make_trainer().fit()
    assert min(saved_steps(tmp_path)) == 3


def test_by_the_clock_every_step_has_its_checkpoint_once(make_trainer, tmp_path):
    make_trainer(session=EVERY_STEP, limit_steps=5).fit()
    steps = saved_steps(tmp_path)
    # Step 3 is saved twice: before its validation and after it, as a kill in between must not lose the result.
    assert steps == [0, 1, 2, 3, 3, 4, 5]


def test_no_checkpoint_is_written_while_steps_are_skipped_except_at_the_end(make_trainer, tmp_path):
    make_trainer(session=EVERY_STEP, loss=FailingLoss({2, 3}), limit_steps=3).fit()
    assert saved_steps(tmp_path) == [0, 1, 3]
