"""Samples taken from a table keep all of their attributes, in the requested order."""

from dataclasses import fields

import numpy as np
import pytest

from imettk.data.sample_table import LabelledTable, SampleTable

NUM = 6


def full_table():
    """Return a table with every attribute; its arrays hold the numbers of their rows."""
    rows = np.arange(NUM)
    names = rows.astype(str)
    arrays = {
        item.name: names if item.name in ("ids", "paths", "groups", "units") else rows
        for item in fields(SampleTable)
        if "ndarray" in item.type
    }
    return SampleTable(labels=("a",), label_groups=("",), **arrays), list(arrays)


def test_every_array_follows_the_rows_that_are_taken():
    table, arrays = full_table()
    taken = table.take(np.array([4, 1]))
    assert len(table) == NUM and len(taken) == 2 and len(arrays) > 8
    for name in arrays:
        assert [int(value) for value in getattr(taken, name)] == [4, 1], name
    assert taken.labels == table.labels and table.ids[0] == "0"


def test_labels_are_shown_by_their_titles_where_there_are_some():
    table, _ = full_table()
    named = SampleTable(table.ids, table.paths, ("a",), ("",), label_titles=("Apple",))
    assert table.titles == ("a",) and named.titles == ("Apple",)


def test_a_labelled_table_has_targets_and_stays_one():
    ids = np.array(["a", "b"])
    with pytest.raises(TypeError, match="targets"):
        LabelledTable(ids, ids, ("x",), ("",))
    taken = LabelledTable(ids, ids, ("x",), ("",), targets=np.array([0, 1])).take(np.array([1]))
    assert isinstance(taken, LabelledTable) and taken.targets.tolist() == [1] and taken.ids.tolist() == ["b"]
