"""When a session stops, with a clock that the test turns."""

import signal

import pytest

from imettk.training.session import Session


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(
    clock: Clock, *, limit: float = 100.0, margin: float = 10.0, ago: float = 0.0, steps: int | None = None
) -> Session:
    return Session(started=clock() - ago, limit_seconds=limit, margin_seconds=margin, limit_steps=steps, clock=clock)


def test_it_stops_while_worst_step_and_save_still_fit():
    clock = Clock()
    session = make(clock)
    for seconds in (1.0, 4.0, 2.0):
        session.note_step(seconds)
    session.note_save(3.0)
    clock.now += 82.0  # 100 - 10 - 4 - 3 = 83
    assert session.stop_reason() is None
    clock.now += 1.5
    assert session.stop_reason() == "time limit of the session"


def test_time_before_the_process_counts():
    """The kernel's first line started the session; installing and importing took their part of it."""
    clock = Clock()
    session = make(clock, ago=60.0)
    clock.now += 29.0
    assert session.stop_reason() is None
    clock.now += 2.0
    assert session.stop_reason() is not None


def test_an_old_slow_step_is_forgotten():
    clock = Clock()
    session = make(clock)
    session.note_step(80.0)
    for _ in range(50):
        session.note_step(1.0)
    clock.now += 80.0
    assert session.stop_reason() is None


def test_validation_starts_only_where_it_fits():
    clock = Clock()
    session = make(clock)
    assert session.stop_reason(validation_seconds=85.0) is None
    assert session.stop_reason(validation_seconds=95.0) == "no time left in the session to validate"


def test_the_limit_of_steps_stops_steps_only():
    session = make(Clock(), steps=2)
    session.note_step(1.0)
    assert session.stop_reason() is None
    session.note_step(1.0)
    assert session.stop_reason() == "step limit of the session"
    assert session.stop_reason(validation_seconds=1.0) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_a_flag_and_a_second_ctrl_c_acts(number):
    session = make(Clock())
    acted = []
    before = signal.signal(number, lambda *_: acted.append(1))
    try:
        restore = session.listen()
        signal.raise_signal(number)
        assert session.stop_reason() == f"received {signal.Signals(number).name}" and not acted
        signal.raise_signal(number)
        assert acted == ([1] if number == signal.SIGINT else [])  # a platform may repeat SIGTERM while we save
        acted.clear()
        restore()
        signal.raise_signal(number)
        assert acted == [1]
    finally:
        signal.signal(number, before)


def test_the_first_validation_is_estimated_from_the_steps():
    session = make(Clock())
    assert session.estimate(10) == 0.0
    session.note_step(1.0)
    session.note_step(3.0)
    assert session.estimate(10) == 20.0
