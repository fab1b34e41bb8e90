"""Waiting: with patience for what passes, with an end, and visible in a terminal as in a log."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from imettk.errors import MismatchError, PlatformError
from imettk.kaggle.client import NotThere, Patience, Unclear
from imettk.kaggle.waiting import REFUSALS, wait_until


def look_at(*states: str | Exception):
    """A look that finds each of these in turn, and then a result."""
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


def test_a_line_when_the_state_changes_and_every_three_minutes(capsys):
    assert wait(*["QUEUED"] * 9, *["RUNNING"] * 30) == "result"
    assert capsys.readouterr().out.splitlines() == [
        "it: QUEUED", "it: RUNNING", "it: RUNNING for 3 min", "it: RUNNING for 6 min",
    ]  # fmt: skip


def test_a_line_that_changes_in_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert wait("QUEUED", *["RUNNING"] * 30) == "result"
    output = capsys.readouterr()
    assert output.out == "" and "QUEUED" in output.err and "RUNNING for 7 min" in output.err


@pytest.mark.parametrize("kind", [NotThere, MismatchError])
def test_refusals_in_passing_are_outlived_and_others_are_not(capsys, kind):
    passing = [kind("no")] * (REFUSALS - 1)
    assert wait(*passing, "RUNNING", *passing) == "result"
    assert capsys.readouterr().out.count("no; looking again") == len(passing) * 2
    with pytest.raises(kind, match="no; `again`"):
        wait(*passing, kind("no"))
    assert wait(*[Unclear("no answer")] * 50) == "result"


def test_the_end_of_the_limit(capsys):
    assert wait(*["RUNNING"] * 100, limit_seconds=60) is None
    with pytest.raises(PlatformError, match="no answer; `again`"):
        wait(*[Unclear("no answer")] * 100, limit_seconds=60)
