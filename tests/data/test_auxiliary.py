"""Cells of auxiliary columns: empty ones are unknown, all others must be learnable by the task."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from imettk.config import TableFormat
from imettk.data.auxiliary import auxiliary_labels, read_auxiliary
from imettk.data.table import read_table
from imettk.errors import DataError

FRAME = pd.DataFrame({"id": ["a", "b", "c"], "x": ["1", "2", "3"], "size": ["10", "", " 2"], "kind": ["b", "a", ""]})
MORE = FRAME[["id", "x", "size"]]
CSV = Path("train.csv")


def form(task, *columns):
    return TableFormat(task=task, label_columns=("x",), auxiliary_columns=columns)


def test_questions_have_the_classes_of_all_tables_and_no_class_where_a_cell_is_empty():
    names = auxiliary_labels(form("questions", "kind", "size"), [FRAME, MORE])
    assert names == {"kind=a": "kind", "kind=b": "kind", "size=2": "size", "size=10": "size"}
    remarks = []
    found = read_auxiliary(form("questions", "kind", "size"), CSV, FRAME, names, remarks)
    assert found.dtype == np.uint8 and found.tolist() == [[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]] and not remarks
    found = read_auxiliary(form("questions", "kind", "size"), CSV, MORE, names, remarks)
    assert found[:, :2].sum() == 0 and remarks == [
        "train.csv has no column kind: its rows have no auxiliary target there"
    ]


def test_numbers_are_unknown_where_a_cell_is_empty():
    names = auxiliary_labels(form("regression", "size"), [FRAME])
    found = read_auxiliary(form("regression", "size"), CSV, FRAME, names, [])
    np.testing.assert_array_equal(found, np.array([[10], [np.nan], [2]], np.float32))
    assert names == {"size": "size"} and read_auxiliary(form("regression"), CSV, FRAME, {}, []) is None


def test_what_cannot_be_learned_is_named():
    with pytest.raises(DataError, match=r"2 rows \(a, b\) with 'b' in column kind, which cannot be learned"):
        read_auxiliary(form("regression", "kind"), CSV, FRAME, {"kind": "kind"}, [])
    with pytest.raises(DataError, match=r"1 row \(b\) with 'a' in column kind"):
        read_auxiliary(form("questions", "kind"), CSV, FRAME, {"kind=b": "kind"}, [])
    with pytest.raises(DataError, match=r"column kind of table\.auxiliary_columns is empty"):
        auxiliary_labels(form("questions", "kind"), [FRAME.assign(kind=" ")])


def test_questions_may_stand_in_long_rows_with_auxiliary_columns_that_agree(tmp_path):
    (tmp_path / "train").mkdir()
    rows = []
    for number in range(4):
        cv2.imwrite(str(tmp_path / "train" / f"i{number}.png"), np.zeros((8, 8, 3), np.uint8))
        rows += [(f"i{number}_{name}", number % 2, f"k{number // 2}") for name in ("word", "root")]
    frame = pd.DataFrame(rows, columns=["id", "value", "kind"])
    frame.to_csv(tmp_path / "train.csv", index=False)
    long = TableFormat(
        task="questions",
        label_columns=("root", "word"),
        label_column="value",
        train_rows="{id}_{label}",
        auxiliary_columns=("kind",),
    )
    table = read_table(long, tmp_path)
    assert table.labels == ("root=0", "root=1", "word=0", "word=1") and table.ids.tolist() == ["i0", "i1", "i2", "i3"]
    assert table.targets.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]] * 2
    assert table.auxiliary.tolist() == [[1, 0]] * 2 + [[0, 1]] * 2 and table.auxiliary_labels == ("kind=k0", "kind=k1")
    frame.loc[1, "kind"] = "k9"
    frame.to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(DataError, match="kind"):
        read_table(long, tmp_path)
