"""Tables in JSON, in every form that pandas and people write, return the cells that they were written from."""

import gzip
import json

import pandas as pd
import pytest

from imettk.data.label_cells import parse_list
from imettk.data.table_files import read_file, read_rows
from imettk.errors import DataError

FRAME = pd.DataFrame({"id": ["007", "é", "c", "d"], "n": [1, 2, 3, 4], "label": ["x", None, "y", "y"]})
CELLS = [["007", "1", "x"], ["é", "2", ""], ["c", "3", "y"], ["d", "4", "y"]]


def rows_of(tmp_path, value, name="a.json", remarks=None):
    (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return read_rows(tmp_path / name, remarks)


@pytest.mark.parametrize("orient", ["records", "columns", "split"])
def test_what_pandas_writes_comes_back(tmp_path, orient):
    for frame in (FRAME, FRAME.head(2)):
        read = rows_of(tmp_path, frame.to_json(orient=orient))
        assert read.columns.tolist() == ["id", "n", "label"] and read.to_numpy().tolist() == CELLS[: len(frame)]


def test_names_of_rows_are_a_column(tmp_path):
    named = FRAME.set_index("id")
    for orient in ("columns", "index"):
        read = rows_of(tmp_path, named.to_json(orient=orient))
        assert read.columns.tolist() == ["id", "n", "label"] and read.to_numpy().tolist() == CELLS
    read = rows_of(tmp_path, named.assign(id="z").to_json())
    assert read.columns.tolist() == ["index", "n", "label", "id"] and read["id"].tolist() == ["z"] * 4


def test_rows_keep_their_names_where_these_are_no_mere_numbers_of_rows(tmp_path):
    for orient in ("columns", "split"):
        read = rows_of(tmp_path, FRAME[1:].to_json(orient=orient))
        assert read.columns.tolist() == ["id", "n", "label"] and read["id"].tolist() == ["é", "c", "d"]
        read = rows_of(tmp_path, FRAME[1:][["label"]].to_json(orient=orient))
        assert read.columns.tolist() == ["id", "label"] and read["id"].tolist() == ["1", "2", "3"]
        read = rows_of(tmp_path, FRAME.set_index("id").to_json(orient=orient))
        assert read.columns.tolist() == ["id", "n", "label"] and read.to_numpy().tolist() == CELLS


def test_ids_that_pandas_made_floats_are_whole_numbers(tmp_path):
    frame = pd.DataFrame({"id": [7.0, None, 12.0], "label_id": [1.5, 2, 3], "grade": [1.0, 2, 3]})
    expected = {"id": ["7", "", "12"], "label_id": ["1.5", "2", "3"], "grade": ["1.0", "2.0", "3.0"]}
    for orient in ("records", "columns"):
        assert rows_of(tmp_path, frame.to_json(orient=orient, double_precision=1)).to_dict("list") == expected


def test_a_key_is_never_lost_to_what_it_stands_for(tmp_path):
    images = {"im1.png": {"id": 7, "label": "cat"}, "im2.png": {"label": "dog"}, "im3.png": {"id": 8, "label": "dog"}}
    read = rows_of(tmp_path, images)
    assert read.to_dict("list") == {"id": ["7", "", "8"], "label": ["cat", "dog", "dog"], "index": [*images]}
    read = rows_of(tmp_path, {name: part | {"index": 1, "key": 2} for name, part in images.items()})
    assert read.iloc[:, -1].tolist() == [*images] and len(read.columns) == 5
    assert rows_of(tmp_path, FRAME.to_json(orient="index")).to_numpy().tolist() == CELLS
    read = rows_of(tmp_path, FRAME[1:].to_json(orient="index"))
    assert read["index"].tolist() == ["1", "2", "3"] and read["id"].tolist() == ["é", "c", "d"]


@pytest.mark.parametrize(
    "text",
    [
        '{"a.jpg": "cat", "b.jpg": "dog", "a.jpg": "owl"}',
        '[{"id": 1, "id": 2}]',
        '{"id": 1}\n{"id": 1, "id": 2}',
        '{"id": [1, 2, 3], "id": [2, 3, 4]}',
    ],
)
def test_a_name_twice_in_an_object_is_refused(tmp_path, text):
    with pytest.raises(DataError, match=r"(a.jpg|id)\) repeated in one object with another value"):
        rows_of(tmp_path, text)
    assert rows_of(tmp_path, '[{"id": 1, "id": 1}]')["id"].tolist() == ["1"]  # nothing is lost


@pytest.mark.parametrize(
    "rows", [{"a.jpg": [{"x": 1}], "b.jpg": []}, {"a.jpg": [{"x": 1}, {"x": 2}], "b.jpg": [{"x": 3}]}]
)
def test_images_that_are_mapped_to_lists_of_objects_keep_a_row_at_least(tmp_path, rows):
    remarks = []
    read = rows_of(tmp_path, rows, remarks=remarks)
    expected = [[name, str(row["x"])] for name, part in rows.items() for row in part]
    expected += [[name, ""] for name, part in rows.items() if not part]
    assert read.columns.tolist() == ["id", "x"] and read.to_numpy().tolist() == expected and remarks == []


def test_objects_on_lines_are_rows_whatever_the_ending(tmp_path):
    text = FRAME.to_json(orient="records", lines=True)
    for name in ("a.jsonl", "a.ndjson", "a.json"):
        assert rows_of(tmp_path, text + "\n", name).to_numpy().tolist() == CELLS
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    assert read_rows(tmp_path / "a.jsonl.gz").to_numpy().tolist() == CELLS
    for name in ("b.jsonl", "b.json"):
        read = rows_of(tmp_path, '{"id": "a\u2028b\\n"}\n{"id": 2}\n', name)
        assert read["id"].tolist() == ["a\u2028b\n", "2"]


def test_other_columns_in_other_rows_are_empty(tmp_path):
    read = rows_of(tmp_path, [{"id": "a", "x": 1}, {"id": "b", "y": 2.5}, {"z": False}])
    assert read.to_dict("list") == {
        "id": ["a", "b", ""], "x": ["1", "", ""], "y": ["", "2.5", ""], "z": ["", "", "False"]
    }  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_any_encoding_of_json_is_read(tmp_path, encoding):
    (tmp_path / "a.json").write_bytes(json.dumps({"é.jpg": "ü"}, ensure_ascii=False).encode(encoding))
    assert read_rows(tmp_path / "a.json").to_numpy().tolist() == [["é.jpg", "ü"]]


def test_a_mapping_is_a_table_of_ids_and_labels(tmp_path):
    read = rows_of(tmp_path, {"0": "Bacterial Blight", "4": "Healthy"})
    assert read.to_dict("list") == {"id": ["0", "4"], "label": ["Bacterial Blight", "Healthy"]}
    for images in (
        {"a": ["x", "y"], "b": ["z", "u"]},
        {"a.jpg": ["x", "y"], "b.jpg": []},
        {"a.jpg": ["x", "y", "z"], "b.jpg": ["x", "u", "v"]},
    ):
        read = rows_of(tmp_path, images)
        assert dict(zip(read["id"], map(parse_list, read["label"]), strict=True)) == images


def test_columns_are_lists_too(tmp_path):
    read = rows_of(tmp_path, {"id": [*range(99)], "label": ["a"] * 99})
    assert read["id"].tolist() == [str(row) for row in range(99)] and len(read.columns) == 2


def test_a_list_beside_what_is_said_of_it_is_the_table(tmp_path):
    remarks = []
    value = {
        "info": {"year": 2020},
        "version": 1,
        "data": [{"id": "a", "label": "x"}],
        "classes": ["x", "y"],
        "bad": [],
    }
    assert rows_of(tmp_path, value, remarks=remarks).to_dict("list") == {"id": ["a"], "label": ["x"]}
    assert remarks == [f"{tmp_path / 'a.json'}: left out 3 parts (info, classes, bad) beside the table data"]


@pytest.mark.parametrize("form", ["records", "lines", "columns", "mapping"])
def test_pixels_are_left_out_and_told(tmp_path, form):
    rows, remarks = [{"id": name, "band": [0.5] * 99, "angle": 30.5} for name in "abcd"], []
    value = {
        "records": rows,
        "lines": "\n".join(map(json.dumps, rows)),
        "columns": {name: [row[name] for row in rows] for name in rows[0]},
        "mapping": {row["id"]: {"band": row["band"], "angle": row["angle"]} for row in rows},
    }[form]
    read = rows_of(tmp_path, value, remarks=remarks)
    assert read.to_dict("list") == {"id": [*"abcd"], "angle": ["30.5"] * 4}
    assert remarks == [f"{tmp_path / 'a.json'}: left out 1 column (band) of pixels or other long values"]


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ([{"id": "a"}] * 2, "JSON, a list of 2 objects"),
        ('{"id": 1}\n{"id": 2}', "JSON lines, 2 rows"),
        ({"a": "x", "b": "y"}, "JSON that maps 2 names to values"),
        ({"a": {"label": 1}, "b": {"label": 1, "size": 2}}, "JSON that maps 2 names to objects"),
        ({"id": ["a", "b"]}, "JSON of columns, 2 rows"),
        (["a.jpg", "b.jpg"], "JSON, a list of 2 names"),
    ],
)
def test_the_form_is_told(tmp_path, value, form):
    rows_of(tmp_path, value)
    assert read_file(tmp_path / "a.json").form == form


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"train": {"lr": 1}, "model": {"size": 2}},
            "holds no table in a known form: it is an object of train, model",
        ),
        ({"lr": 0.1, "model": {"size": 2}, "a": 1, "b": 2}, "it is an object of lr, model, a, ..."),
        ({}, "it is neither a list of objects nor an object with anything in it"),
        ([], "it is neither a list"),
        ([1, {"a": 1}], "it is neither a list"),
        (7, "it is neither a list"),
        ("", "is broken JSON: "),
        ('[{"id": "a"}, {"id": ', "is broken JSON: "),
        ('{"id": 1}\n{"id": ', "line 2 is broken JSON: "),
        ('{"id": 1}\n[2]', "line 2 is not a JSON object"),
        ("[" * 100_000, "is broken JSON: "),
        ({"columns": ["id"], "index": [0], "data": [["a", "b"]]}, "it is an object of columns, index, data"),
        ({"columns": 3, "index": [], "data": [[1]]}, "it is an object of columns, index, data"),
        ({"columns": {"id": 1}, "index": 3, "data": 5}, "it is an object of columns, index, data"),
        ('[{"id": "\\ud800 a"}]', "contains half a character, and is not valid text"),
        ('{"\\ud800.jpg": 1}', "contains half a character, and is not valid text"),
    ],
)
def test_what_is_no_table_is_one_line_with_its_path(tmp_path, value, message):
    with pytest.raises(DataError) as caught:
        rows_of(tmp_path, value)
    assert str(caught.value).startswith(str(tmp_path / "a.json")) and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_one_line(tmp_path):
    for name, content in (("a.json", b'{"id": "\xff"}'), ("a.json.gz", b"{}"), ("b.jsonl", b'{"id": 1}\n\xff')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} is not JSON: "):
            read_rows(tmp_path / name)
