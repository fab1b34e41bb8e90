"""A position comes back from JSON as it was, and counts what later steps depend on."""

import json

import pytest

from imettk.training.position import Position


def test_it_is_the_same_after_its_way_through_json():
    at = Position(step=7, validation_pending=True, validation_seconds=1.5, best=0.25, loss_sum=3.5, loss_steps=2)
    at.history.append({"step": 5, "stage": 0, "loss": 0.75, "score": 0.5})
    at.early_ends[1] = 40  # JSON knows texts alone as keys
    assert Position.from_values(json.loads(json.dumps(at.to_values()))) == at


def test_what_a_checkpoint_holds_does_not_change_while_training_goes_on():
    at = Position()
    values = at.to_values()
    at.history.append({"step": 1, "stage": 0})
    at.early_ends[0] = 3
    assert values["history"] == [] and values["early_ends"] == {}


@pytest.mark.parametrize(("verdicts", "in_a_row", "in_all"), [("", 0, 0), ("x", 1, 1), ("xx.x", 1, 3), ("xx.", 0, 2)])
def test_skipped_steps_are_counted_in_all_and_in_a_row(verdicts, in_a_row, in_all):
    at = Position()
    for verdict in verdicts:
        at.note_verdict(finite=verdict == ".")
    assert (at.nonfinite_in_a_row, at.nonfinite_steps) == (in_a_row, in_all)


def test_metrics_are_those_of_one_stage_in_order():
    at = Position(history=[{"stage": stage, "score": score} for stage, score in ((0, 0.1), (1, 0.3), (1, 0.2))])
    assert at.metrics(1, "score") == [0.3, 0.2] and at.metrics(2, "score") == []
