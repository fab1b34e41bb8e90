"""1,000 simulated sessions of 9 hours: overruns, and the share of time that goes into training.

The policy is the package's own `Session`; only the clock, the steps and the disk are made up. Steps are lognormal with
30% spread and drift by 20% over the session, saves take 1 to 30 s, one session in 50 stalls for up to 2 minutes. In a
second round every session meets a step that hangs for up to an hour, when the margin may not cover it.

`python tools/bench/sessions.py [--check] [--quick]`
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from table import Row, arguments_of, finish, print_machine

from imettk.config import SessionConfig
from imettk.training.session import Session

LIMIT, MARGIN = SessionConfig().limit_seconds, SessionConfig().margin_seconds
CHECKPOINT_SECONDS = SessionConfig().checkpoint_seconds
COPY_SECONDS = 0.1  # what a checkpoint in the background keeps the loop waiting


@dataclass
class Outcome:
    """A session's end: seconds after its start, seconds in steps and validations, and the cause."""

    ended: float
    useful: float
    by_watchdog: bool


class Clock:
    """A clock that only the simulation moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def play(number: int, *, hangs: bool) -> Outcome:
    """Play a session as the trainer does: stop or go on before every step, as late as the policy allows."""
    chance = random.Random(number)
    clock = Clock()
    session = Session(started=0.0, limit_seconds=LIMIT, margin_seconds=MARGIN, clock=clock)
    watchdog_at = clock.now + session.seconds_until_hang()
    clock.now = chance.uniform(20, 120)  # installing, importing, the first batch
    mean_step = math.exp(chance.uniform(math.log(0.5), math.log(20)))
    drift, phase = 0.2, chance.uniform(0, 2 * math.pi)
    validate_every, validation_mean = chance.uniform(900, 5400), chance.uniform(30, 600)
    if hangs:
        stall_at, stall = LIMIT - MARGIN - chance.uniform(0, 1200), chance.uniform(0, 3600)
    else:
        stall_at, stall = (chance.uniform(0, LIMIT), chance.uniform(0, 120)) if number % 50 == 0 else (math.inf, 0.0)
    next_checkpoint, next_validation = clock.now + CHECKPOINT_SECONDS, clock.now + validate_every
    known_validation, useful = validation_mean, 0.0
    while True:
        validates = clock.now >= next_validation
        if session.stop_reason(validation_seconds=known_validation if validates else None) is not None:
            break
        if validates:
            seconds = validation_mean * chance.uniform(0.9, 1.1)
            known_validation = max(known_validation, seconds)
            next_validation = clock.now + seconds + validate_every
        else:
            speed = 1 + drift * math.sin(2 * math.pi * clock.now / LIMIT + phase)
            seconds = mean_step * speed * chance.lognormvariate(-(0.3**2) / 2, 0.3)
            if clock.now >= stall_at:
                seconds, stall_at = seconds + stall, math.inf
            session.note_step(seconds)
        if clock.now + seconds > watchdog_at:
            return Outcome(watchdog_at, useful, by_watchdog=True)
        clock.now += seconds
        useful += seconds
        if clock.now >= next_checkpoint:
            clock.now += COPY_SECONDS
            session.note_save(chance.uniform(1, 30))
            next_checkpoint = clock.now + CHECKPOINT_SECONDS
    clock.now += chance.uniform(1, 30)  # the last checkpoint, waited for
    if clock.now > watchdog_at:
        return Outcome(watchdog_at, useful, by_watchdog=True)
    return Outcome(clock.now, useful, by_watchdog=False)


def main() -> None:
    arguments = arguments_of(__doc__).parse_args()
    count = 20 if arguments.quick else 1000
    print_machine()
    plain = [play(number, hangs=False) for number in range(count)]
    hung = [play(number, hangs=True) for number in range(count)]
    shares = [session.useful / (LIMIT - MARGIN) for session in plain]
    beyond_margin = sum(session.by_watchdog for session in hung)
    print(f"{count} sessions of {LIMIT / 3600:g} h, margin {MARGIN:g} s; then {count} with a step that hangs\n")
    by_watchdog = sum(session.by_watchdog for session in plain)
    print(f"ended by the watchdog: {by_watchdog}, and {beyond_margin} of those that hang\n")
    finish(
        [
            Row("overruns", [sum(session.ended > LIMIT for session in plain)], bar=0),
            Row("overruns if a step hangs", [sum(session.ended > LIMIT for session in hung)], bar=0),
            Row("share of the time before the margin, mean", [sum(shares) / count], bar=0.985, at_least=True),
            Row("share of the time before the margin, all", shares, bar=0.985, at_least=True),
            Row("stalls beyond the margin ended by the watchdog", [beyond_margin], bar=1, at_least=True),
        ],
        arguments,
    )


if __name__ == "__main__":
    main()
