"""Waiting survives passing faults, has an end, and is shown in a terminal and in a log."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from imettk.errors import MismatchError, PlatformError
from imettk.kaggle.client import NotThere, Patience, Unclear
from imettk.kaggle.waiting import REFUSALS, wait_until


def look_at(*states: str | Exception):
    """Return a look that gives these states in turn, and then a result."""
    left = list(states)

    def look() -> tuple[str | None, str]:
        if not left:
            return "result", ""
        if isinstance(state := left.pop(0), Exception):
            raise state
        return None, state

    return look


def wait(*states: str | Exception, limit_seconds: float = 3600.0) -> str | None:
    account = SimpleNamespace(patience=Patience(sleep=lambda seconds: None))
    return wait_until(account, "it", look_at(*states), limit_seconds=limit_seconds, hint="`again`")  # type: ignore[arg-type]


def test_a_log_has_a_line_for_each_state_and_every_three_minutes(capsys):
    assert wait(*["QUEUED"] * 9, *["RUNNING"] * 30) == "result"
    assert capsys.readouterr().out.splitlines() == [
        "it: QUEUED", "it: RUNNING", "it: RUNNING for 3 min", "it: RUNNING for 6 min",
    ]  # fmt: skip


def test_a_terminal_has_a_changing_line(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert wait("QUEUED", *["RUNNING"] * 30) == "result"
    output = capsys.readouterr()
    assert output.out == "" and "QUEUED" in output.err and "RUNNING for 7 min" in output.err


@pytest.mark.parametrize("kind", [NotThere, MismatchError])
def test_passing_refusals_are_survived_and_lasting_ones_are_not(capsys, kind):
    passing = [kind("no")] * (REFUSALS - 1)
    assert wait(*passing, "RUNNING", *passing) == "result"
    assert capsys.readouterr().out.count("no; looking again") == len(passing) * 2
    with pytest.raises(kind, match="no; `again`"):
        wait(*passing, kind("no"))
    assert wait(*[Unclear("no answer")] * 50) == "result"


def test_the_limit_ends_the_waiting(capsys):
    assert wait(*["RUNNING"] * 100, limit_seconds=60) is None
    with pytest.raises(PlatformError, match="no answer; `again`"):
        wait(*[Unclear("no answer")] * 100, limit_seconds=60)
