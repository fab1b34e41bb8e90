"""Images are found below their folder by name, and by the ends of other machines' paths, or else refused."""

import os
import unicodedata
from dataclasses import replace

import pytest

from imettk.config import ExtraTable, TableFormat
from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError

FORM = TableFormat(task="multiclass", label_column="kind", image_suffix=".jpg")
NFC, NFD = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def read(folder, *ids, form=FORM, **changes):
    """Return the files of ids as paths from the data folder; two labels alternate."""
    rows = "".join(f'"{name}",{"xy"[number % 2]}\n' for number, name in enumerate(ids))
    (folder / "train.csv").write_text("id,kind\n" + rows)
    table = read_table(replace(form, **changes), folder)
    assert all(map(os.path.isfile, table.paths))
    return [os.path.relpath(path, folder) for path in table.paths], "\n".join(table.remarks)


@pytest.mark.parametrize(
    ("suffix", "file", "name"),
    [
        (".jpg", "a/b/ab12.jpg", "ab12"),
        ("", "0/ab12.jpg", "ab12.jpg"),
        ("", "0/ab12.jpg", "ab12"),
        (".jpg", "0/ab12.JPG", "ab12"),
        (".jpg", "0/ab12.png", "ab12.jpg"),
        (".jpg", f"x/{NFD}/{NFD}.jpg", NFC),
        (".jpg", f"x/{NFC}.jpg", NFD),
        (".jpg", "x y/with a *.jpg", "with a *"),
        (".jpg", "deep/7/b.jpg", "7/b"),
    ],
)
def test_images_are_found_by_name_below_their_folder(tmp_path, suffix, file, name):
    touch(tmp_path, f"train/{file}", "train/flat.jpg", "train/other/7/c.jpg", "train/other/b.jpg")
    flat = "flat" + ("" if suffix else ".jpg")
    files, remarks = read(tmp_path, name, flat, image_suffix=suffix)
    assert files == [f"train/{file}", "train/flat.jpg"]
    assert f"train.csv: 1 image found by name in folders below {tmp_path}/train: {name} is {file}" in remarks
    assert (
        "2 images (other/7/c.jpg, other/b.jpg) without a row" in remarks and "another name than the id" not in remarks
    )


def test_what_lies_in_the_folder_itself_comes_first(tmp_path):
    touch(tmp_path, "train/a.JPG", "train/thumbnails/a.jpg", "train/b.jpg")
    assert read(tmp_path, "a", "b")[0] == ["train/a.JPG", "train/b.jpg"]


def test_a_name_in_two_folders_is_refused(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "train/dog/2.jpg", "train/old/1.jpg")
    with pytest.raises(DataError, match=r"1 id \(1: cat/1\.jpg or dog/1\.jpg\) that may mean several.*image_path"):
        read(tmp_path, "1", "2")
    with pytest.raises(DataError, match=r"2 ids .* with the same file"):
        read(tmp_path, "2", "2.jpg")
    assert read(tmp_path, "dog/1", "2")[0] == ["train/dog/1.jpg", "train/dog/2.jpg"]


def test_rows_without_an_image_anywhere_are_counted(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/cat/2.jpg")
    with pytest.raises(DataError, match=r"1 row \(3\) without an image"):
        read(tmp_path, "1", "2", "3")
    assert len(read(tmp_path, "1", "2", "3", on_missing_image="drop")[0]) == 2


def test_test_images_and_those_of_other_tables_are_found_so_too(tmp_path):
    touch(tmp_path, "train/a/1.jpg", "train/a/2.jpg", "test/b/3.jpg", "more/c/d/4.jpg")
    (tmp_path / "more.csv").write_text("id,kind\n4,x\n")
    (tmp_path / "sample_submission.csv").write_text("id,kind\n3,x\n")
    form = replace(FORM, extra=(ExtraTable(csv="more.csv", images="more"),))
    assert read(tmp_path, "1", "2", form=form)[0][2] == "more/c/d/4.jpg"
    test = read_test_table(form, tmp_path, read_table(form, tmp_path))
    assert (
        test.paths.tolist() == [str(tmp_path / "test/b/3.jpg")] and "found by name in folders below" in test.remarks[0]
    )


def test_channel_files_are_found_below_in_one_folder(tmp_path):
    form = replace(FORM, image_suffix="_*.png", channel_files=("red", "green"))
    touch(tmp_path, f"train/p/{NFD}_red.png", f"train/p/{NFD}_green.png", "train/q/b_red.png", "train/r/b_green.png")
    touch(tmp_path, "train/q/c_red.png", "train/q/c_green.png")
    (tmp_path / "train.csv").write_text(f"id,kind\n{NFC},x\nb,y\nq/c,y\n")
    table = read_table(replace(form, on_missing_image="drop"), tmp_path)
    assert table.paths.tolist() == [str(tmp_path / f"train/p/{NFD}_*.png"), str(tmp_path / "train/q/c_*.png")]
    assert "dropped 1 row (b)" in "\n".join(table.remarks)


@pytest.mark.parametrize(
    "name",
    [
        "/kaggle/input/comp/train/a.jpg",
        "C:\\data\\train\\a.jpg",
        "\\\\server\\share\\train\\a.jpg",
        "../input/comp/train/a.jpg",
        "../../input/comp/train/a.jpg",
        "./train/a.jpg",
        "train/a.jpg",
        "train\\a.jpg",
        "data//train//a.jpg",
        "/other/names/a.jpg",
        "/kaggle/input/comp/train/a.JPG",
        "/kaggle/input/comp/train/a",
        "gs://bucket/comp/train/a.jpg",
    ],
)
def test_paths_of_another_machine_are_matched_by_their_end(tmp_path, name):
    touch(tmp_path, "train/a.jpg", "train/b.jpg", "a.jpg")
    files, remarks = read(tmp_path, name, "b.jpg")
    assert files == ["train/a.jpg", "train/b.jpg"]
    assert f"train.csv: 1 path of another machine or folder matched by the end: {name} is train/a.jpg" in remarks


def test_the_longest_end_that_is_there_counts(tmp_path):
    touch(tmp_path, "train/a.jpg", "train/cat/a.jpg", "train/dog/b.jpg", "photos/cat/a.jpg", "photos/c/d.jpg")
    ways = ["/x/train/cat/a.jpg", "/x/train/a.jpg", "/x/photos/cat/a.jpg", "/x/dog/b.jpg", "/x/photos/c/d.jpg"]
    files = read(tmp_path, *ways, image_suffix="")[0]
    assert files == ["train/cat/a.jpg", "train/a.jpg", "photos/cat/a.jpg", "train/dog/b.jpg", "photos/c/d.jpg"]


def test_the_folder_of_images_may_lie_beside_the_data(tmp_path):
    """`new --hold-out` writes such a folder."""
    touch(tmp_path / "elsewhere/deep", "a.jpg", "cat/b.jpg")
    touch(tmp_path / "data", "photos/c.jpg")
    form = replace(FORM, train_images="../elsewhere/deep", image_suffix="")
    files = read(tmp_path / "data", "/x/deep/a.jpg", "b.jpg", "/x/photos/c.jpg", form=form)[0]
    assert files == ["../elsewhere/deep/a.jpg", "../elsewhere/deep/cat/b.jpg", "photos/c.jpg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/x/cat/a.jpg", r"\(/x/cat/a\.jpg: cat/a\.jpg or \.\./cat/a\.jpg\) that may mean several files"),
        ("/x/dog/9.jpg", r"1 id \(/x/dog/9\.jpg\) would lead out of"),
        ("/x/bird/1.jpg", r"1 id \(/x/bird/1\.jpg\) would lead out of"),  # which is another one's
        ("bird/1.jpg", r"1 row \(bird/1\.jpg\) without an image"),
        ("bird/top.jpg", r"1 row \(bird/top\.jpg\) without an image"),
        ("/x/cat/", "would lead out of"),
        ("/x/cat/..", "would lead out of"),
    ],
)
def test_paths_whose_end_is_not_plainly_there_are_refused(tmp_path, name, message):
    touch(tmp_path, "train/cat/a.jpg", "cat/a.jpg", "train/cat/1.jpg", "train/top.jpg")
    with pytest.raises(DataError, match=message):
        read(tmp_path, "top.jpg", name, image_suffix="")


def test_numbers_that_became_fractions_name_whole_ones(tmp_path):
    touch(tmp_path, "train/4/1.jpg", "train/7/2.jpg", "train/9.0/3.jpg", "train/12.jpg")
    (tmp_path / "train.csv").write_text("id,chain,kind\n1,4.0,x\n2,7.0,y\n3,9.0,x\n12.0,,y\n")
    table = read_table(replace(FORM, image_path="{chain}/{id}"), tmp_path)
    found = [os.path.relpath(path, tmp_path / "train") for path in table.paths]
    assert found == ["4/1.jpg", "7/2.jpg", "9.0/3.jpg", "12.jpg"]
    assert "3 images found after removing `.0` behind a number: 4.0/1 is 4/1.jpg" in "\n".join(table.remarks)


def test_a_folder_may_be_an_image_where_no_file_is(tmp_path):
    touch(tmp_path, "train/scan1/0.npy", "train/scan2/0.npy")
    (tmp_path / "train.csv").write_text("id,kind\nscan1,x\nscan2,y\n")
    table = read_table(replace(FORM, image_suffix=""), tmp_path)
    assert table.paths.tolist() == [str(tmp_path / "train" / name) for name in ("scan1", "scan2")]


def test_folders_that_cannot_be_read_are_told(tmp_path, monkeypatch):
    touch(tmp_path, "train/a/1.jpg", "train/b/2.jpg")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    remarks = read(tmp_path, "1", "2", on_missing_image="drop")[1]
    assert f"{tmp_path}/train/b cannot be read: Permission denied" in remarks


def test_a_step_that_leads_nowhere_makes_no_other_image(tmp_path):
    """Such names were two rows once, in two folds."""
    touch(tmp_path, *(f"train/{number}.jpg" for number in range(4)))
    with pytest.raises(DataError, match=r"2 ids \(0: 0.jpg, ./0: 0.jpg\) with the same file as another id"):
        read(tmp_path, "0", "./0", "1", "2")
    files, remarks = read(tmp_path, *(f"./{number}" for number in range(4)))
    assert files == [f"train/{number}.jpg" for number in range(4)] and "without a row" not in remarks


@pytest.mark.parametrize(
    ("masks", "where"), [("masks/{}.jpg", "masks/2.jpg"), ("a/masks/{}.png", "a/masks/2.png"), ("{}.png", "2.png")]
)
def test_a_mask_never_stands_for_an_image_that_is_missing(tmp_path, masks, where):
    touch(tmp_path, *(f"train/{number}.jpg" for number in range(6) if number != 2))
    touch(tmp_path, *(f"train/{masks.format(number)}" for number in range(6)))
    files, remarks = read(tmp_path, *map(str, range(6)), on_missing_image="drop")
    assert files == [f"train/{number}.jpg" for number in range(6) if number != 2]
    assert f"train.csv: 1 row (2 is {where}) without an image beside those of most rows in {tmp_path}/train" in remarks
    with pytest.raises(
        DataError, match=f"1 row .2. without an image .*; {where} does not lie beside the images of most rows"
    ):
        read(tmp_path, *map(str, range(6)))


def test_another_ending_that_only_some_have_is_an_image(tmp_path):
    touch(tmp_path, "train/0.jpg", "train/1.jpg", "train/1.png", "train/2.jpg", "train/3.png")
    assert read(tmp_path, *"0123")[0] == [f"train/{name}" for name in ("0.jpg", "1.jpg", "2.jpg", "3.png")]


@pytest.mark.parametrize("inner", ["", "in/"])
def test_only_images_are_told_to_be_without_a_row(tmp_path, inner):
    """Even if ids include their endings, so that no suffix is expected: endings that occur are images."""
    touch(tmp_path, *(f"train/{inner}{name}" for name in ("a.jpg", "b.img", "c.img", "d.png", "e.py", "f.json", "g")))
    _, remarks = read(tmp_path, "a.jpg", "b.img", image_suffix="")
    assert f"{tmp_path}/train: 2 images ({inner}c.img, {inner}d.png) without a row in the table" in remarks


def test_a_part_of_the_images_may_lie_below_the_others(tmp_path):
    """Only a folder that repeats the names of the others holds something other than images."""
    touch(tmp_path, *(f"train/{name}.jpg" for name in "01234"), *(f"train/more/{name}.jpg" for name in "567"))
    files, remarks = read(tmp_path, *"01234567")
    assert files == [f"train/{name}.jpg" for name in "01234"] + [f"train/more/{name}.jpg" for name in "567"]
    assert f"3 images found by name in folders below {tmp_path}/train" in remarks
