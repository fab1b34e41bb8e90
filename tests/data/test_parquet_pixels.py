"""Pixels in parquet, compared with pandas and pyarrow, and the amount of a file that is decoded."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imettk.data import parquet_pixels
from imettk.data.arrays import read_npy
from imettk.data.containers import NoImages, list_members
from imettk.data.parquet_pixels import ParquetRows, open_parquet
from imettk.data.table_files import read_rows
from imettk.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 14 * 24), np.uint8)


def load(content):
    return read_npy(content, channels=1, frame=None, as_shown=True).numbers


def write(path, dtype="uint8", **options):
    frame = pd.DataFrame(PIXELS.astype(dtype), columns=[str(number) for number in range(PIXELS.shape[1])])
    frame.insert(0, "image_id", [f"Train_{row}" for row in range(len(frame))])
    frame.to_parquet(path, index=False, **options)
    return str(path)


@pytest.mark.parametrize("options", [{}, {"row_group_size": 7}], ids=["one group", "groups"])
@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_a_column_a_pixel(tmp_path, monkeypatch, options, dtype):
    monkeypatch.setattr(parquet_pixels, "MOST_ROWS", 4)
    path = write(tmp_path / "a.parquet", dtype, **options)
    same = pd.read_parquet(path)
    table = open_parquet(path)
    assert table.names() == same["image_id"].tolist() and list(table.frame()) == ["image_id"]
    assert "336 values" in str(table.fault(None)) and table.fault((14, 24)) is None
    for row in [*range(50), 49, 0, 13, 14, 12, 48, 3]:
        image = load(table.read(f"Train_{row}", (14, 24)))
        assert image.dtype == dtype
        assert np.array_equal(image, same.iloc[row, 1:].to_numpy(int).reshape(14, 24))


def test_reading_in_order_decodes_each_row_once(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_pixels, "MOST_ROWS", 4)
    rows = ParquetRows(write(tmp_path / "a.parquet", row_group_size=20))
    decoded, decode = [], rows._decode
    monkeypatch.setattr(rows, "_decode", lambda batch: decoded.append(batch.num_rows) or decode(batch))
    for row in [0, 1, 3, 2, 5, 3, 4, 6, 9, 7, 8, *range(10, 50)]:  # threads are a few rows out of order
        rows.values(row)
    assert sum(decoded) == 50 and max(decoded) <= 4
    assert next(rows._ahead, None) is None and rows._group == -1  # nothing is kept of a group that was read


def test_lists_and_text(tmp_path):
    deep = PIXELS[:, :256].astype(np.uint16) * 257
    frame = pd.DataFrame({"name": [f"n{row}" for row in range(50)], "pixels": list(deep), "label": 3})
    frame.to_parquet(tmp_path / "a.parquet")
    table = open_parquet(str(tmp_path / "a.parquet"))
    image = load(table.read("n7", None))
    assert image.dtype == np.uint16 and np.array_equal(image, deep[7].reshape(16, 16))
    frame.assign(pixels=[" ".join(map(str, row)) for row in deep]).to_parquet(tmp_path / "b.parquet")
    assert np.array_equal(load(open_parquet(str(tmp_path / "b.parquet")).read("n7", None)), deep[7].reshape(16, 16))
    pq.write_table(pa.table({"i": [PIXELS[row].reshape(14, 24).tolist() for row in range(5)]}), tmp_path / "c.parquet")
    assert np.array_equal(load(open_parquet(str(tmp_path / "c.parquet")).read("5", None)), PIXELS[4].reshape(14, 24))


def test_bytes_of_files(tmp_path):
    files = [b"\xff\xd8 a" + bytes(99), b"\xff\xd8 b" + bytes(70)]
    frame = pd.DataFrame({"image_id": [b"a", b"b"], "label": [0, 1], "image": files, "hash": [b"1" * 32, b"2" * 32]})
    frame.to_parquet(tmp_path / "a.parquet")
    table = open_parquet(str(tmp_path / "a.parquet"))
    assert table.names() == ["a", "b"] and table.read("b", None) == files[1]
    assert list(table.frame()) == ["image_id", "label", "hash"]
    frame["image"] = [{"bytes": files[0], "path": "x"}, {"bytes": None, "path": "y"}]
    frame.to_parquet(tmp_path / "b.parquet")
    table = open_parquet(str(tmp_path / "b.parquet"))
    assert table.read("a", None) == files[0] and table.fault(None) is None
    with pytest.raises(ValueError, match="its cell holds no bytes"):
        table.read("b", None)


def test_a_table_without_pixels_and_a_cut_one(tmp_path):
    pd.DataFrame({"id": ["a"], "label": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(NoImages):
        open_parquet(str(tmp_path / "a.parquet"))
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a.parquet cannot be read: Parquet magic bytes not found"):
        list_members(tmp_path / "a.parquet", None)


def test_what_stands_beside_pixels_is_text_as_in_other_tables(tmp_path):
    beside = pd.DataFrame({"id": [7.0, 8.0], "seen": pd.to_datetime(["2020-01-02", None]), "angle": [np.nan, 39.5]})
    digest = pd.DataFrame({"digest": [b"\xff\x00\x01", b"\xfe\x02\x03"]})
    beside.to_parquet(tmp_path / "plain.parquet")
    pixels = pd.DataFrame({"pixels": [list(range(256))] * 2})
    pd.concat([beside, digest, pixels], axis=1).to_parquet(tmp_path / "pixels.parquet")
    container = open_parquet(str(tmp_path / "pixels.parquet"))
    pd.testing.assert_frame_equal(container.frame(), read_rows(tmp_path / "plain.parquet"))
