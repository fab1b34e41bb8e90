"""Fixtures of tests of thresholds."""

import pytest

from imettk.postprocess.thresholds import ascent, sweep


@pytest.fixture
def small_blocks(monkeypatch):
    """Search small tables in several steps, starting from a guess, like large tables."""
    monkeypatch.setattr(sweep, "LEAST_BLOCK", 3)
    monkeypatch.setattr(sweep, "LARGE", 30)
    monkeypatch.setattr(sweep, "ROWS", 4)
    monkeypatch.setattr(ascent, "LEAST_PAIRS", 2)
