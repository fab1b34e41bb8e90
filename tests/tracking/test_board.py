"""TensorBoard's own reader finds each scalar of the journal exactly once after any earlier sessions."""

import math

import pytest

from imettk.tracking.board import Board


def train(step, loss, lr=0.1):
    return {"event": "train", "step": step, "loss": loss, "lr": lr, "time": 1000.0 + step}


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return {
        name: [(point.step, pytest.approx(point.value), point.wall_time) for point in reader.Scalars(name)]
        for name in reader.Tags()["scalars"]
    }


def test_scalars_are_those_of_the_events(tmp_path):
    board = Board(tmp_path / "board", [train(1, 0.5)])
    board.write({"event": "validate", "step": 2, "score": 0.75, "loss": 0.25, "time": 1002.0})
    board.write({"event": "session", "step": 2})
    board.close()
    assert scalars(tmp_path / "board") == {
        "train/loss": [(1, 0.5, 1001.0)],
        "train/lr": [(1, 0.1, 1001.0)],
        "validate/score": [(2, 0.75, 1002.0)],
        "validate/loss": [(2, 0.25, 1002.0)],
    }


@pytest.mark.parametrize("again", ["a new session", "the same one"])
def test_what_an_earlier_session_wrote_beyond_its_checkpoint_is_gone(tmp_path, again):
    board = Board(tmp_path / "board", [train(1, 0.5), train(2, 0.4), train(3, 0.3)])
    if again == "a new session":
        board.close()
        board = Board(tmp_path / "board", [train(1, 0.5)])
    else:
        board.restart([train(1, 0.5)])
    board.write(train(2, 0.45))
    board.close()
    assert scalars(tmp_path / "board")["train/loss"] == [(1, 0.5, 1001.0), (2, 0.45, 1002.0)]


def test_what_is_no_finite_number_is_left_out(tmp_path):
    board = Board(tmp_path / "board", [train(1, math.nan, None), train(2, math.inf), train(3, 0.3)])
    board.close()
    found = scalars(tmp_path / "board")
    assert [step for step, _, _ in found["train/loss"]] == [3] and [step for step, _, _ in found["train/lr"]] == [2, 3]
