"""What tests of thresholds share."""

import pytest

from imettk.postprocess.thresholds import ascent, sweep


@pytest.fixture
def small_blocks(monkeypatch):
    """So that small tables are searched in several steps, and start from a guess, as large ones are."""
    monkeypatch.setattr(sweep, "LEAST_BLOCK", 3)
    monkeypatch.setattr(sweep, "LARGE", 30)
    monkeypatch.setattr(sweep, "ROWS", 4)
    monkeypatch.setattr(ascent, "LEAST_PAIRS", 2)
