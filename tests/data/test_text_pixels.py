"""Pixels in csv and JSON, compared with pandas and json."""

import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from imettk.data.arrays import read_npy
from imettk.data.containers import NoImages, list_members, read_member
from imettk.data.table_files import read_rows
from imettk.data.text_pixels import find_lines, find_objects, open_csv, open_json
from imettk.errors import DataError

RNG = np.random.default_rng(0)
DIGITS = RNG.integers(0, 256, (30, 784), np.uint8)
BANDS = RNG.normal(-20, 9, (12, 2, 5625))


def load(content, channels=1):
    return read_npy(content, channels=channels, frame=None, as_shown=True).numbers


def digits_frame():
    frame = pd.DataFrame(DIGITS, columns=[f"pixel{number}" for number in range(784)])
    frame.insert(0, "label", RNG.integers(0, 10, 30))
    return frame


@pytest.mark.parametrize(("separator", "end"), [(",", "\n"), (";", "\r\n"), ("\t", "\n")])
def test_a_column_a_pixel(tmp_path, separator, end):
    frame = digits_frame()
    frame.to_csv(tmp_path / "train.csv", index=False, sep=separator, lineterminator=end)
    table = open_csv(str(tmp_path / "train.csv"))
    assert table.names() == [str(row) for row in range(1, 31)] and table.fault(None) is None
    assert table.frame()["label"].tolist() == frame["label"].astype(str).tolist()
    for row in (0, 29):
        image = load(table.read(str(row + 1), None))
        assert image.dtype == np.float64 and np.array_equal(image, DIGITS[row].reshape(28, 28))
    assert load(table.read("1", (14, 56))).shape == (14, 56)


@pytest.mark.parametrize("index", [None, "image_id"])
def test_a_table_with_its_index(tmp_path, index):
    frame = digits_frame()
    frame.index = pd.Index([f"i{row}" for row in range(30)], name=index)
    frame.to_csv(tmp_path / "train.csv")
    table = open_csv(str(tmp_path / "train.csv"))
    assert list(table.frame()) == [index or "index", "label"] and table.names() == [f"i{row}" for row in range(30)]
    assert table.frame()["label"].tolist() == frame["label"].astype(str).tolist()
    assert np.array_equal(load(table.read("i29", None)), DIGITS[29].reshape(28, 28))


def test_columns_of_one_name_are_refused(tmp_path):
    digits_frame().assign(id=range(30)).rename(columns={"id": "label"}).to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(DataError, match=r"train.csv cannot be read: 1 column \(label\) with the same name$"):
        list_members(tmp_path / "train.csv", None)


def test_all_pixels_in_a_cell(tmp_path):
    frame = pd.DataFrame({"emotion": 3, "pixels": [" ".join(map(str, row)) for row in DIGITS], "Usage": "Training"})
    frame.to_csv(tmp_path / "fer.csv", index=False)
    table = open_csv(str(tmp_path / "fer.csv"))
    assert list(table.frame()) == ["emotion", "Usage", "row"]
    assert np.array_equal(load(table.read("30", None)), DIGITS[29].reshape(28, 28))


def test_quotes_breaks_and_empty_lines(tmp_path):
    cells = [" ".join(map(str, row)) for row in DIGITS]
    frame = pd.DataFrame({"id": [f'a"{row}\n, b' for row in range(30)], "image": cells})
    (tmp_path / "a.csv").write_text("\ufeff" + frame.to_csv(index=False) + "\n\n", encoding="utf-8")
    table = open_csv(str(tmp_path / "a.csv"))
    assert table.names() == frame["id"].tolist()
    assert np.array_equal(load(table.read('a"7\n, b', None)), DIGITS[7].reshape(28, 28))


@pytest.mark.parametrize("chunk", [1, 3, 7, 1 << 20])
def test_lines_are_found_whatever_part_of_a_file_is_looked_at(monkeypatch, chunk):
    monkeypatch.setattr("imettk.data.text_pixels.CHUNK", chunk)
    data = b'a,b\r\n"x\ny",1\n\n\r\nlast,"2"'
    assert [data[start:end].strip() for start, end in find_lines(data)] == [b"a,b", b'"x\ny",1', b'last,"2"']
    assert len(find_lines(b"")) == 0


@pytest.mark.parametrize("cell", ["", "x", "nan "])
def test_a_cell_that_is_no_number_is_one_bad_image(tmp_path, cell):
    frame = digits_frame().astype(object)
    frame.iloc[4, 9] = cell
    frame.to_csv(tmp_path / "train.csv", index=False)
    table = open_csv(str(tmp_path / "train.csv"))
    assert len(load(table.read("4", None))) == 28
    if cell == "nan ":
        assert np.isnan(load(table.read("5", None))).any()
        return
    with pytest.raises(DataError, match=r"train.csv/5 cannot be read: could not convert string to float"):
        read_member(str(tmp_path / "train.csv" / "5"))


def test_a_cut_csv_has_one_bad_image(tmp_path):
    digits_frame().to_csv(tmp_path / "train.csv", index=False)
    content = (tmp_path / "train.csv").read_bytes()
    (tmp_path / "train.csv").write_bytes(content[:-900])
    assert len(list_members(tmp_path / "train.csv", None) or []) == 30
    assert read_member(str(tmp_path / "train.csv" / "29")) is not None
    with pytest.raises(DataError, match=r"train.csv/30 cannot be read: its row has \d+ cells, but the header 785"):
        read_member(str(tmp_path / "train.csv" / "30"))


def records(**more):
    rows = []
    for row, angle in zip(range(12), ["na", 43.9, 0, None] * 3, strict=True):
        bands = {f"band_{number}": BANDS[row, number - 1].tolist() for number in (1, 2)}
        rows.append({"id": f"x/{row}", **bands, "inc_angle": angle, **more})
    return rows


@pytest.mark.parametrize("form", ["list", "indented", "lines"])
def test_arrays_in_json(tmp_path, form):
    rows = records(note='br{ace} "quoted" [1, 2]', site={"name": "n", "numbers": [1, 2]})
    text = json.dumps(rows, indent=2 if form == "indented" else None)
    if form == "lines":
        text = "\n".join(map(json.dumps, rows))
    (tmp_path / "train.json").write_text(text)
    table = open_json(str(tmp_path / "train.json"))
    assert table.names() == [f"x/{row}" for row in range(12)]
    assert table.frame()["inc_angle"].tolist() == ["na", "43.9", "0", ""] * 3
    assert table.frame()["note"].unique().tolist() == ['br{ace} "quoted" [1, 2]']
    image = load(table.read("x/7", None), 2)
    assert np.array_equal(image, BANDS[7].reshape(2, 75, 75).transpose(1, 2, 0))


def test_nested_lists_and_text_in_json(tmp_path):
    rows = [{"name": str(row), "image": DIGITS[row].reshape(16, 49).tolist(), "label": row} for row in range(5)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    table = open_json(str(tmp_path / "a.json"))
    assert np.array_equal(load(table.read("3", None)), DIGITS[3].reshape(16, 49)) and table.fault(None) is None
    rows = [{"name": str(row), "image": " ".join(map(str, DIGITS[row])), "label": row} for row in range(5)]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert np.array_equal(load(open_json(str(tmp_path / "b.jsonl")).read("3", None)), DIGITS[3].reshape(28, 28))


def test_json_without_pixels_holds_no_images(tmp_path):
    coco = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"segmentation": [[1.5] * 400]}]}
    for name, value in {"coco.json": coco, "rows.json": [{"id": 1, "label": "x"}], "labels.json": {"a": 1}}.items():
        (tmp_path / name).write_text(json.dumps(value))
        with pytest.raises(NoImages):
            open_json(str(tmp_path / name))


def test_cut_json_is_one_line(tmp_path):
    text = json.dumps(records())
    (tmp_path / "train.json").write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match=r"train.json cannot be read: it is truncated: its last object has no end$"):
        list_members(tmp_path / "train.json", None)


def test_outermost_objects():
    data = b' [{"a": "}{\\"", "b": {"c": [1]}},\n{} ]'
    found = [data[start:end] for start, end in find_objects(data, len(data))]
    assert found == [b'{"a": "}{\\"", "b": {"c": [1]}}', b"{}"]


def test_a_file_is_never_held_as_a_whole(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps(records()))
    size = (tmp_path / "train.json").stat().st_size
    tracemalloc.start()
    table = open_json(str(tmp_path / "train.json"))
    for name in table.names():
        table.read(name, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size / 2  # a twelfth of it is one row


def test_what_stands_beside_pixels_is_text_as_in_other_tables(tmp_path):
    """Whole floats in ids, missing values and lists are written as in a file without pixels."""
    beside = [{"id": 7.0, "tags": ["a", "b"], "angle": None}, {"id": 8.0, "tags": [], "angle": 39.5}]
    (tmp_path / "plain.json").write_text(json.dumps(beside))
    (tmp_path / "pixels.json").write_text(json.dumps([row | {"band": list(range(256))} for row in beside]))
    container = open_json(str(tmp_path / "pixels.json"))
    pd.testing.assert_frame_equal(container.frame(), read_rows(tmp_path / "plain.json"))
