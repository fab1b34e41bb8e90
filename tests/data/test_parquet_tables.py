"""Cells of parquet and Arrow files equal those that pandas writes to csv; pixels are never read."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from imettk.data.label_cells import parse_list
from imettk.data.table_files import read_file, read_rows
from imettk.errors import DataError

FRAME = pd.DataFrame(
    {
        "id": ["007", "b", " c,\n"],
        "int": pd.array([1, None, 2**53 + 1], "Int64"),
        "small": np.array([1, 2, 250], np.uint8),
        "double": [1.0, np.nan, 1e-7],
        "float": np.array([0.1, 2, 16777216], np.float32),
        "flag": [True, False, True],
        "maybe": pd.array([True, None, False], "boolean"),
        "kind": pd.Categorical(["x", None, "y"]),
        "grade": pd.Categorical([3, 1, 3]),
        "day": pd.to_datetime(["2020-01-01", None, "2020-02-01"]),
        "time": pd.to_datetime(["2020-01-01 00:00:00", "2020-02-01 10:00:01", None]),
        "empty": [None, None, None],
    }
)


def as_csv(frame):
    return pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype=str, keep_default_na=False)


@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
def test_cells_are_those_of_the_csv_that_pandas_writes(tmp_path, name):
    (FRAME.to_parquet if name == "a.parquet" else FRAME.to_feather)(tmp_path / name)
    remarks = []
    read = read_file(tmp_path / name, remarks)
    pd.testing.assert_frame_equal(read.frame, as_csv(FRAME), check_dtype=False)
    assert remarks == [] and read.form == ("parquet, 3 rows" if name == "a.parquet" else "Arrow, 3 rows")


def test_lists_of_labels_are_read_again(tmp_path):
    rows = [["a", "it's"], [], ["b"]]
    pd.DataFrame({"id": list("abc"), "labels": rows, "ids": [[1, 2], [3], []]}).to_parquet(tmp_path / "a.parquet")
    frame = read_rows(tmp_path / "a.parquet")
    assert [parse_list(cell) for cell in frame["labels"]] == rows and frame["ids"].tolist() == ["[1, 2]", "[3]", "[]"]


def test_names_of_rows_are_a_column_where_pandas_stored_them(tmp_path):
    for frame, columns in (
        (FRAME.iloc[1:][["id"]].reset_index(drop=True), ["id"]),
        (FRAME[["id"]].set_index(pd.Index(list("xyz"), name="photo")), ["id", "photo"]),
        (FRAME[["id"]].set_index(pd.Index(list("xyz"))), ["id", "index"]),
    ):
        frame.to_parquet(tmp_path / "a.parquet")
        read = read_rows(tmp_path / "a.parquet")
        assert read.columns.tolist() == columns
        assert read["id"].tolist() == frame["id"].tolist()
        assert read.iloc[:, 1:].to_numpy().T.tolist() == ([list("xyz")] if len(columns) > 1 else [])


def test_pixels_are_left_out(tmp_path):
    remarks, pixels = [], {f"p{number}": [0, 1] for number in range(1001)}
    columns = {"id": ["a", "b"], "image": [b"\xff\xd8", b""], "values": [[0.5] * 70, [0.5] * 70]}
    columns |= {"nested": [{"bytes": b"1", "path": "x"}] * 2}
    pa.parquet.write_table(pa.table(columns | pixels), tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet", remarks).to_numpy().tolist() == [["a"], ["b"]]
    assert len(remarks) == 1 and "left out 1004 columns (image, values, nested, p0, p1, ...) of pixels" in remarks[0]
    pa.parquet.write_table(pa.table({"image": columns["image"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet holds no table, only pixels"):
        read_rows(tmp_path / "a.parquet")


def test_a_stream_of_arrow_is_read_too(tmp_path):
    table = pa.table({"id": ["a", "b"]})
    with pa.ipc.new_stream(tmp_path / "a.arrow", table.schema) as stream:
        stream.write_table(table)
    assert read_rows(tmp_path / "a.arrow")["id"].tolist() == ["a", "b"]


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    pa.parquet.write_table(
        pa.table({"id": pa.array([], pa.string()), "l": pa.array([], pa.list_(pa.int8()))}), tmp_path / "a.pq"
    )
    assert read_rows(tmp_path / "a.pq").columns.tolist() == ["id", "l"]


@pytest.mark.parametrize("ending", [".parquet", ".feather"])
@pytest.mark.parametrize("share", [0, 0.5, 0.98])
def test_a_broken_file_is_one_line_with_its_path(tmp_path, ending, share):
    path = tmp_path / f"a{ending}"
    (FRAME.to_parquet if ending == ".parquet" else FRAME.to_feather)(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=rf"a\{ending} cannot be read") as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)
    path.write_bytes(content[:4] + bytes(len(content) - 8) + content[-4:])
    with pytest.raises(DataError, match=rf"a\{ending} cannot be read"):
        read_rows(path)


def test_ids_that_pandas_made_floats_are_whole_numbers(tmp_path):
    columns = {"id": [7.0, np.nan, 12.0], "imageId": [1.5, 2.0, 1e3], "valid": [1.0, 0.0, 1.0]}
    for kind in (np.float64, np.float32):
        pd.DataFrame(columns, dtype=kind).to_parquet(tmp_path / "a.parquet")
        expected = {"id": ["7", "", "12"], "imageId": ["1.5", "2", "1000"], "valid": ["1.0", "0.0", "1.0"]}
        assert read_rows(tmp_path / "a.parquet").to_dict("list") == expected


@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
def test_two_columns_of_one_name_are_refused(tmp_path, name):
    table = pa.table([pa.array([1]), pa.array(["a"]), pa.array(["b"])], names=["id", "label", "label"])
    (pa.parquet.write_table if name == "a.parquet" else pa.feather.write_feather)(table, tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: 1 name \(label\) of more than one column"):
        read_rows(tmp_path / name)


@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.large_binary(), pa.binary(4), pa.dictionary(pa.int8(), pa.binary())],
    ids=lambda kind: str(kind).replace("/", " "),
)
def test_texts_that_stand_as_bytes_are_read(tmp_path, name, kind):
    cells, remarks = ["im0a", None, "\u00e9.7"], []
    values = pa.array([None if cell is None else cell.encode() for cell in cells])
    values = values.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else values.cast(kind)
    others = [pa.array([cell, b"a", b"b"]) for cell in (b"\xff\xd8", b"x" * 999, b"a\0b")]
    table = pa.table([values, *others], names=["id", "jpeg", "long", "zeros"])
    (pa.parquet.write_table if name == "a.parquet" else pa.feather.write_feather)(table, tmp_path / name)
    assert read_rows(tmp_path / name, remarks).to_dict("list") == {"id": ["im0a", "", "\u00e9.7"]}
    assert "left out 3 columns (jpeg, long, zeros) of pixels" in remarks[0]


def test_no_large_column_of_bytes_is_read(tmp_path):
    table = pa.table([pa.array([b"a"] * 64 + [b"x" * 99_999] * 64), pa.array(["a"] * 128)], names=["id", "label"])
    pa.parquet.write_table(table, tmp_path / "a.parquet", use_dictionary=False)
    assert read_rows(tmp_path / "a.parquet", remarks := []).columns.tolist() == ["label"] and len(remarks) == 1


def test_bytes_that_are_text_in_the_first_rows_alone_are_refused(tmp_path):
    table = pa.table([pa.array([b"a"] * 99 + [b"\xff"]), pa.array(["a"] * 100)], names=["id", "label"])
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read in the format of its name: Invalid UTF8"):
        read_rows(tmp_path / "a.parquet")
