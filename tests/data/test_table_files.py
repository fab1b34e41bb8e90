"""Tables of all kinds are read alike: by ending, every cell as text, and one line for a broken file."""

import sys

import pandas as pd
import pytest

from imettk.config.file_kinds import TABLE_READERS
from imettk.data.table_files import as_cell, holds_pixels, make_table, read_file, read_rows
from imettk.errors import DataError


def test_every_kind_reads_the_same_rows(tmp_path):
    frame = pd.DataFrame({"id": ["007", "b", "c"], "label": ["x", "", "y"], "n": ["1", "2", "3"]})
    writers = {
        "csv": lambda path: frame.to_csv(path, index=False),
        "text": lambda path: frame.to_csv(path, index=False),
        "json": lambda path: frame.to_json(path, orient="records"),
        "json_lines": lambda path: frame.to_json(path, orient="records", lines=True),
        "parquet": frame.to_parquet,
        "arrow": frame.to_feather,
    }
    assert {*writers} == {*TABLE_READERS}
    for kind, write in writers.items():
        for ending in TABLE_READERS[kind].endings:
            path = tmp_path / f"train{ending}"
            write(path)
            pd.testing.assert_frame_equal(read_rows(path), frame, check_dtype=False)


def test_another_ending_is_text(tmp_path):
    (tmp_path / "train.dat").write_text("id,label\n1,a\n")
    assert read_rows(tmp_path / "train.dat").columns.tolist() == ["id", "label"]


@pytest.mark.parametrize("ending", [ending for kind in TABLE_READERS.values() for ending in kind.endings])
def test_a_missing_file_or_a_folder_is_one_line(tmp_path, ending):
    with pytest.raises(DataError, match=r"a\.\S+ is missing: --data must be the competition's folder"):
        read_file(tmp_path / f"a{ending}")
    (tmp_path / f"a{ending}").mkdir()
    with pytest.raises(DataError, match=r"a\.\S+ cannot be read: "):
        read_file(tmp_path / f"a{ending}")


def test_a_missing_library_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "imettk.data.parquet_tables", raising=False)
    line = r"a\.parquet: parquet is read by pyarrow, which is not installed: pip install 'pyarrow>=14'"
    with pytest.raises(DataError, match=line):
        read_file(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("007", "007"),
        (None, ""),
        (float("nan"), ""),
        (1, "1"),
        (2**63, "9223372036854775808"),
        (1.0, "1.0"),
        (1e-7, "1e-07"),
        (True, "True"),
        (["a", "it's"], """['a', "it's"]"""),
        ([], "[]"),
        ([1, 2.5], "[1, 2.5]"),
        ({"é": [1, None]}, '{"é": [1, null]}'),
        ([{"a": 1}], '[{"a": 1}]'),
    ],
)
def test_cells_are_written_as_python_does(value, cell):
    assert as_cell(value) == cell


def test_long_lists_of_numbers_are_pixels():
    assert holds_pixels([0.5] * 65) and holds_pixels([[1] * 10] * 7) and holds_pixels([[[1, 2, 3]] * 5] * 5)
    for value in ([0.5] * 64, [], [[]], [["a"] * 99], ["a"] * 99, "a" * 99, None, [None] * 99):
        assert not holds_pixels(value)


def test_pixels_are_left_out_and_told(tmp_path):
    remarks = []
    columns = {"id": ["a", "b"], "band": [None, [1] * 99], "mask": [{"counts": [1] * 99}, {}], "size": [[1, 2], []]}
    assert make_table(columns, tmp_path / "a.json", remarks).columns.tolist() == ["id", "size"]
    assert remarks == [f"{tmp_path / 'a.json'}: left out 2 columns (band, mask) of pixels or other long values"]
