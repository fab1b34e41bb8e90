"""Every backbone, head and pool has its implementation."""

import pytest

from imettk.config.choices import load
from imettk.config.choices.networks import BACKBONES, HEADS, POOLS
from imettk.config.own import LIBRARIES


@pytest.mark.parametrize("rows", [BACKBONES, HEADS, POOLS], ids=["backbones", "heads", "pools"])
def test_the_implementation_of_every_row_is_there(rows):
    for name, row in rows.items():
        references = [getattr(row, field, None) for field in ("make", "pooled", "fetch", "pretraining")]
        assert all(callable(load(reference)) for reference in references if reference), name


def test_libraries_of_backbones_are_no_users_own():
    assert set(BACKBONES) <= set(LIBRARIES)
