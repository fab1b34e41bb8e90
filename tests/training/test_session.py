"""When a session stops, with a clock that the test turns."""

import signal
import threading
import time

import pytest
from forked import PATIENCE

from imettk.training.session import Session, Watchdog


class Clock:
    """Seconds that pass while somebody waits for them, and never else."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.now += seconds
        return event.is_set()


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


@pytest.mark.parametrize(
    ("begun", "end"),
    [(100.0, 900.0), (880.0, 940.0), (5000.0, 5060.0)],  # a quarter of the margin is left, or 60 seconds to see it
)
def test_the_watchdog_ends_what_hangs_with_code_0(begun, end):
    clock, told, left = Clock(begun), [], []
    session = Session(started=0.0, limit_seconds=1000.0, margin_seconds=400.0, clock=clock)
    watchdog = Watchdog(session, lambda: told.append((clock.now, list(left))), leave=left.append, wait=clock.wait)
    watchdog._thread.join(PATIENCE)
    assert told == [(end, [])] and left == [0]


def test_the_watchdog_lets_go_when_training_ends():
    clock, told, left, waits = Clock(100.0), [], [], []
    session = Session(started=0.0, limit_seconds=1000.0, margin_seconds=400.0, clock=clock)

    def wait(event: threading.Event, seconds: float) -> bool:
        waits.append(seconds)
        return event.wait(PATIENCE)

    watchdog = Watchdog(session, lambda: told.append(clock.now), leave=left.append, wait=wait)
    watchdog.stop()  # and here its thread has ended: nothing of the training may be freed there
    assert not watchdog._thread.is_alive() and waits == [800.0]
    assert not told and not left


def test_a_clock_that_jumps_changes_nothing(make_trainer, tmp_path, monkeypatch):
    """Only `time.time` can be set; nothing that decides reads it."""
    now = time.time()
    jumps = iter(range(10**6))
    monkeypatch.setattr("time.time", lambda: now + (-1) ** next(jumps) * 86400)
    trainer = make_trainer()
    trainer._session = Session(started=time.monotonic(), limit_seconds=3600, margin_seconds=60)
    assert trainer.fit() is None and trainer.at.step == 12


def test_the_lower_limit_of_steps_holds():
    for first, second in ((None, 2), (5, 2), (2, 5)):
        session = make(Clock(), steps=first)
        session.limit(second)
        for step in range(2):
            assert session.stop_reason() is None, step
            session.note_step(0.0)
        assert session.stop_reason() == "step limit of the session"
        assert session.stop_reason(validation_seconds=0.0) is None


def test_a_step_that_compiles_is_no_worst_step_and_counts_where_another_one_comes():
    clock = Clock()
    session = make(clock)
    session.expect_start()
    session.note_step(60.0)
    session.note_step(1.0)
    assert session.start_seconds == 60.0 and session.estimate(2) == 2.0
    clock.now += 80.0  # 100 - 10 - 1 = 89
    assert session.stop_reason() is None
    session.expect_start()  # a new stage, which would need until 141
    assert session.stop_reason() == "time limit of the session"
