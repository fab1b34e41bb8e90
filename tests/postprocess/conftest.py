"""Fixtures of tests of decision rules."""

import pytest

from imettk.postprocess.thresholds import curves


@pytest.fixture(params=[1, 8, 4096])
def guess_from(request, monkeypatch):
    """Guess levels from few rows: they may be far too low or too high, and have to be corrected."""
    monkeypatch.setattr(curves, "SAMPLE_ROWS", request.param)
