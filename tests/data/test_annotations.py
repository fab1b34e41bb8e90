"""Boxes and lists are joined by id or by file name; rows that match neither are named."""

import numpy as np
import pandas as pd
import pytest

from imettk.config import TableFormat
from imettk.data.annotations import boxes_of, is_named, read_boxes, read_names
from imettk.errors import DataError

IDS = pd.Series(["a", "b", "c"])


def boxes_from(tmp_path, text, **changes):
    (tmp_path / "boxes.csv").write_text(text)
    return read_boxes(TableFormat(boxes_csv="boxes.csv", **changes), tmp_path)


def test_corners_by_id_or_file_name(tmp_path):
    boxes = boxes_from(tmp_path, "Image,x0,y0,x1,y1\nc.jpg,1,2,3,4\na,5,6,7,9\nother.jpg,0,0,1,1\n")
    nothing = [np.nan] * 4
    np.testing.assert_array_equal(boxes_of(boxes, IDS, ".jpg"), [[5, 6, 7, 9], nothing, [1, 2, 3, 4]])


def test_centre_and_size(tmp_path):
    boxes = boxes_from(tmp_path, "Image,x0,y0,x1,y1\na,0.5,0.4,0.2,0.6\n", box_format="centre")
    np.testing.assert_allclose(boxes_of(boxes, IDS, "")[0], [0.4, 0.1, 0.6, 0.7], atol=1e-6)


def test_without_boxes_there_are_none(tmp_path):
    with pytest.raises(DataError, match=r"boxes\.csv is missing: create it, or .* --table\.boxes-csv None"):
        read_boxes(TableFormat(boxes_csv="boxes.csv"), tmp_path)
    assert boxes_of(read_boxes(TableFormat(), tmp_path), IDS, "") is None


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("Image,x0,y0,x1,y1\na,1,2,x,4\n", {}, r"1 row \(a\) without a valid box"),
        ("Image,x0,y0,x1,y1\na,1,2,1,4\nb,1,2,,4\n", {}, r"2 rows \(a, b\) without a valid box"),
        ("Image,x0,y0,x1,y1\na,1,2,3,4\na,1,2,3,4\n", {}, "more than once"),
        ("Image,x0,y0,x1\na,1,2,3\n", {}, "has no column y1"),
        ("Image,x0,y0,x1,y1\na,100,100,50,50\n", {"box_format": "centre"}, "fractions of the image size, got 100"),
    ],
)
def test_bad_boxes_are_named(tmp_path, text, changes, message):
    with pytest.raises(DataError, match=message):
        boxes_from(tmp_path, text, **changes)


def test_lists_name_ids_or_files(tmp_path):
    (tmp_path / "list.txt").write_text("Image\nb.jpg,why\n\nc\n")
    names = read_names("list.txt", tmp_path)
    assert is_named(names, IDS, ".jpg").tolist() == [False, True, True]
    assert not is_named(read_names(None, tmp_path), IDS, ".jpg").any()
    with pytest.raises(DataError, match=r"nowhere\.txt is missing: .* --table\.turned-csv None"):
        read_names("nowhere.txt", tmp_path)
