"""Training images without a table: folders as labels, and labels in file names."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imettk.config import TableFormat
from imettk.data.table import read_table, read_test_table
from imettk.errors import ConfigError, DataError

FOLDERS = replace(
    TableFormat(task="multiclass", id_column="Image", label_column="Id", image_suffix="", unknown_label="-1"),
    train_folders=True,
    boxes_csv="boxes.csv",
    box_id_column="image",
    turned_csv="turned.csv",
    left_out_csv="out.csv",
)
FILES = TableFormat(
    task="multiclass", train_files=True, label_pattern=r"^(.+?)[._-]\d+", label_column="label", image_suffix=".jpg"
)


def lay_out(folder, files, *images):
    for name, text in files.items():
        (folder / name).write_text(text)
    for name in images:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_folders_are_labels(tmp_path):
    images = [
        "b/2.jpg",
        "b/1.jpg",
        "-1/9.jpg",
        "a/1.jpg",
        "a/3.png",
        "b/.hidden",
        "b/deep/5.jpg",
        ".git/x",
        "stray.jpg",
    ]
    boxes = "image,x0,y0,x1,y1\n2.jpg,1,2,3,4\nb/1.jpg,5,6,7,8\n1.jpg,0,0,9,9\n"
    lay_out(
        tmp_path,
        {"boxes.csv": boxes, "turned.csv": "9.jpg\nb/2.jpg\n", "out.csv": "3.png\n"},
        *(f"train/{name}" for name in images),
    )
    (tmp_path / "train" / "empty").mkdir()
    table = read_table(FOLDERS, tmp_path)
    assert table.ids.tolist() == ["-1/9.jpg", "a/1.jpg", "b/1.jpg", "b/2.jpg"]
    assert all(Path(path).is_file() for path in table.paths)
    assert table.labels == ("a", "b") and table.targets.tolist() == [-1, 0, 1, 1]
    nothing = [np.nan] * 4  # 1.jpg alone may be either of two
    np.testing.assert_array_equal(table.boxes, [nothing, nothing, [5, 6, 7, 8], [1, 2, 3, 4]])
    assert table.turned.tolist() == [True, False, False, True]
    remarks = " | ".join(table.remarks)
    for part in (
        "skipped 4 entries (.git, b/.hidden, b/deep, stray.jpg)",
        "1 folder (empty) without images",
        "1 file name (1.jpg) in several folders",
        "left out 1 row (a/3.png)",
        "2 rows (-1/9.jpg, a/1.jpg) without a box",
        "2 of 4 images are turned",
    ):
        assert part in remarks
    assert len(table.remarks) == 6


def test_no_folder_at_all_is_one_clear_line(tmp_path):
    plain = replace(FOLDERS, boxes_csv=None, turned_csv=None, left_out_csv=None)
    with pytest.raises(DataError, match=r"train is missing: .*one folder of images per identity"):
        read_table(plain, tmp_path)
    lay_out(tmp_path, {}, "train/1.jpg")
    with pytest.raises(DataError, match=r"has no folder with images: .* --table.train-folders False"):
        read_table(plain, tmp_path)


def test_names_that_are_no_text_are_one_line(tmp_path):
    """Unpacking a zip of another system creates such names; pandas cannot hold them."""
    lay_out(tmp_path, {}, "t/cat/1.jpg", "t/cat/caf\udce9.jpg", "t/d\udce9g/2.jpg")
    form = TableFormat(task="multiclass", train_folders=True, train_images="t", image_suffix="", label_column="label")
    with pytest.raises(DataError, match=r"t: 2 files \(cat/caf\\udce9\.jpg, d\\udce9g/2\.jpg\) with a name or folder"):
        read_table(form, tmp_path)
    (tmp_path / "t").rename(tmp_path / "t\udce9")
    with pytest.raises(DataError, match=r"t\\udce9: its name is not UTF-8"):
        read_table(replace(form, train_images="t\udce9"), tmp_path)


def test_names_of_files_hold_labels(tmp_path):
    names = ["dog.0.jpg", "dog.1.JPG", "cat.0.jpg", "big cat_7.png"]
    lay_out(
        tmp_path,
        {"sample_submission.csv": "id,label\n1,0.5\n2,0.5\n"},
        *(f"train/{name}" for name in names),
        "test/1.jpg",
        "test/2.png",
        "train/.hidden",
        "train/deep/x.jpg",
    )
    table = read_table(FILES, tmp_path)
    assert table.ids.tolist() == sorted(names)
    assert [table.labels[target] for target in table.targets] == ["big cat", "cat", "dog", "dog"]
    assert [Path(path).name for path in table.paths] == sorted(names)
    assert table.remarks == (f"{tmp_path / 'train'}: skipped 2 entries (.hidden, deep) other than images",)
    test = read_test_table(FILES, tmp_path, table)
    assert [Path(path).name for path in test.paths] == ["1.jpg", "2.png"]
    (tmp_path / "train" / "nobody.jpg").touch()
    with pytest.raises(DataError, match=r"train: 1 id \(nobody\.jpg\) that `table.label_pattern` does not match"):
        read_table(FILES, tmp_path)
    assert len(read_table(replace(FILES, unknown_label="?"), tmp_path)) == 5


def test_no_file_at_all_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"train is missing: .*must hold the training images"):
        read_table(FILES, tmp_path)
    lay_out(tmp_path, {}, "train/cat/1.jpg")
    with pytest.raises(DataError, match=r"train holds no file"):
        read_table(FILES, tmp_path)
    with pytest.raises(ConfigError, match="train_files"):
        replace(FILES, label_pattern=None)
