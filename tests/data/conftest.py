"""Fixtures that several tests of the data share."""

import pytest

from imettk.data import cache as cache_module


@pytest.fixture
def small_parts(monkeypatch):
    """Make parts of five images, 24 x 32 x 3 bytes each."""
    monkeypatch.setattr(cache_module, "PART_BYTES", 5 * 24 * 32 * 3)
