"""Rows find their images in containers, and tables that hold images find their labels."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from imettk.config import TableFormat
from imettk.data.container_search import describe_expected_member, find_members, member_paths, read_training
from imettk.data.table import read_table
from imettk.errors import DataError

BYTES = np.frombuffer(b"\xff\xd8", np.uint8)


@pytest.fixture
def container(tmp_path):
    with h5py.File(tmp_path / "train.h5", "w") as file:
        for name in ("a.jpg", "b/1", "b/2", "c_red", "c_green", "spare"):
            file[name] = BYTES
    return tmp_path / "train.h5"


def search(ids, container, **changes):
    remarks = []
    form = TableFormat(**{"image_suffix": "", **changes})
    files = find_members(pd.Series(ids), Path("train.csv"), container, form, remarks, unshared=True)
    return (None if files is None else files.tolist()), remarks


def test_ids_are_names_of_members(container, tmp_path):
    files, remarks = search(["a", "b/1", "b/2", "none", "", "c_red", "c_green"], container)
    assert files == ["a.jpg", "b/1", "b/2", "", "", "c_red", "c_green"]
    assert remarks == [f"{container}: 1 image (spare) without a row in the table"]
    assert search(["a"], tmp_path) == (None, [])


def test_images_of_several_members(container):
    files, _ = search(["c", "d"], container, image_suffix="_*", channel_files=("red", "green"))
    assert files == ["c_*", ""]


def test_ids_that_share_an_image_are_refused(container):
    with pytest.raises(DataError, match=r"2 ids \(a: a.jpg, a.jpg: a.jpg\) that may mean several images in .*train.h5"):
        search(["a", "a.jpg"], container)


def test_it_is_said_how_images_are_called(container, tmp_path):
    text = describe_expected_member(pd.Series(["x"]), container, TableFormat())
    assert text == "that of x would be x.png; it holds 6 images (a.jpg, c_green, c_red, spare, b/1, ...)"
    assert describe_expected_member(pd.Series(["x"]), tmp_path, TableFormat()) is None
    (tmp_path / "train.csv").write_text("id,attribute_ids\nx,1\n")
    with pytest.raises(
        DataError, match=r"1 row \(x\) without an image in .*train.h5 \(that of x would be x.png; it holds"
    ):
        read_table(TableFormat(train_images="train.h5"), tmp_path)


def test_paths_name_the_file_that_holds_an_image(tmp_path):
    for part in range(2):
        frame = pd.DataFrame({"id": [f"p{part}"], "label": ["x"], "image": [" ".join(["7"] * 256)]})
        frame.to_csv(tmp_path / f"train_{part}.csv", index=False)
    paths = member_paths(tmp_path / "train_*.csv", ["p1", "p0", "none"])
    assert [Path(path).relative_to(tmp_path).as_posix() for path in paths] == [
        "train_1.csv/p1",
        "train_0.csv/p0",
        "train_*.csv/none",
    ]
    assert member_paths(tmp_path / "images", ["a*.png"]) == [str(tmp_path / "images" / "a*.png")]
    form = TableFormat(
        task="multiclass", label_column="label", train_csv="train_*.csv", train_images="train_*.csv", image_suffix=""
    )
    table = read_table(form, tmp_path)
    assert table.ids.tolist() == ["p0", "p1"] and table.paths.tolist() == [paths[1], paths[0]]


def test_a_table_is_read_without_its_pixels_only_where_it_holds_the_images(tmp_path):
    frame = pd.DataFrame({"label": ["3", "4"]} | {f"pixel{number}": [0, 1] for number in range(256)})
    frame.to_csv(tmp_path / "train.csv", index=False)
    read = read_training(tmp_path / "train.csv", holds_images=True)
    assert read.to_dict("list") == {"label": ["3", "4"], "row": ["1", "2"]}
    assert read_training(tmp_path / "train.csv", holds_images=False).shape == (2, 257)
    (tmp_path / "plain.csv").write_text("id,label\na,1\n")
    assert read_training(tmp_path / "plain.csv", holds_images=True).shape == (1, 2)


def test_images_without_a_shape_stop_before_any_is_read(tmp_path):
    pd.DataFrame({"id": ["a"]} | {f"p{number}": [7] for number in range(300)}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=r"a.csv: each image has 300 values, .* table.pixel_shape, .* 15x20$"):
        search(["a"], tmp_path / "a.csv")
    assert search(["a"], tmp_path / "a.csv", pixel_shape=(15, 20)) == (["a"], [])
