"""A change of rows, labels, folds, boxes or unreadable rows changes the identity of the data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from imettk.data.data_identity import DataIdentity, identify_data
from imettk.data.sample_table import SampleTable


def table(**changes) -> SampleTable:
    whole = SampleTable(
        np.array(["a", "b", "c"]),
        np.array(["a.png", "b.png", "c.png"]),
        ("x", "y"),
        ("", ""),
        targets=np.array([0, 1, 1]),
        boxes=np.full((3, 4), np.nan, np.float32),
        turned=np.zeros(3, bool),
    )
    return replace(whole, **changes)


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        ({}, []),
        ({"paths": np.array(["z/a.png", "z/b.png", "z/c.png"])}, []),
        ({"labels": ("y", "x")}, ["the labels are in another order"]),
        ({"labels": ("x", "y", "z")}, ["1 label (z) added"]),
        ({"labels": ("x", "z")}, ["1 label (z) added", "1 label (y) removed"]),
        ({"ids": np.array(["a", "b", "d"])}, ["rows: 3 others"]),
        ({"ids": np.array(["b", "a", "c"])}, ["the rows are in another order"]),
        ({"targets": np.array([0, 1, 0])}, ["rows have other labels"]),
        ({"boxes": np.zeros((3, 4), np.float32)}, ["boxes differ"]),
        ({"turned": np.array([True, False, False])}, ["other images are turned"]),
    ],
)
def test_what_makes_data_other_data(changes, differences):
    old, new = identify_data(table()), identify_data(table(**changes))
    assert old.changes_to(new) == differences
    assert DataIdentity.from_values(json.loads(json.dumps(old.to_values()))) == old


def test_folds_and_unreadable_rows_are_part_of_it():
    folds, bad = np.array([0, 1, 0]), np.zeros(3, bool)
    old = identify_data(table(), folds, bad)
    assert old.changes_to(identify_data(table(), np.array([0, 1, 1]), bad)) == ["rows are in other folds"]
    assert old.changes_to(identify_data(table(), folds, ~bad)) == ["other images cannot be read"]
