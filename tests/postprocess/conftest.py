"""What tests of predictions turned into answers share."""

import pytest

from imettk.postprocess.thresholds import curves


@pytest.fixture(params=[1, 8, 4096])
def guess_from(request, monkeypatch):
    """Levels guessed from one row or a few of them may be far too low or too high, and have to be corrected."""
    monkeypatch.setattr(curves, "SAMPLE_ROWS", request.param)
