"""Ids name images within the data folder, and lead nowhere else."""

import os
import time
from dataclasses import replace

import pandas as pd
import pytest

from imettk.config import ExtraTable, TableFormat
from imettk.data.image_files import refuse_leaving
from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError

FORM = TableFormat(task="multiclass", label_column="kind")


@pytest.fixture
def data(tmp_path):
    """Make a data folder beside a secret; `linked` leads out of it, as links may."""
    for place in ("data/train/sub", "data/other", "data/test", "elsewhere/deep"):
        (tmp_path / place).mkdir(parents=True)
    for name in ("secret", "4", "elsewhere/secret", "elsewhere/deep/l"):
        (tmp_path / f"{name}.png").touch()
    for name in ("train/a", "train/b", "train/a..b", "train/sub/c", "other/d", "test/t"):
        (tmp_path / "data" / f"{name}.png").touch()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "data" / "sample_submission.csv").write_text("id,kind\nt,x\n")
    return tmp_path / "data"


def write(data, *ids, name="train.csv"):
    (data / name).write_text("id,kind\na,x\nb,y\n" + "".join(f"{name},x\n" for name in ids))


OUTSIDE = [
    "../../secret",
    "sub/../../../secret",
    "./../../data/../secret",
    "..\\..\\secret",
    "../../4.0",
    "../linked/../secret",  # from where the link leads to
    "C:\\secret",
    "\\secret",
]


@pytest.mark.parametrize("name", [*OUTSIDE, "{top}/secret", "{top}/elsewhere/a/"])
def test_ids_that_lead_out_of_the_data_folder_are_refused(data, tmp_path, name):
    name = name.format(top=tmp_path)
    write(data, name)
    with pytest.raises(DataError, match=r"train\.csv: 1 id \(.*\) would lead out of .*: an id is the name"):
        read_table(FORM, data)
    with pytest.raises(DataError, match="would lead out of"):
        read_table(replace(FORM, on_missing_image="drop"), data)
    write(data)
    write(data, name, name="more.csv")
    with pytest.raises(DataError, match=r"more\.csv: 1 id .* would lead out of"):
        read_table(replace(FORM, extra=(ExtraTable(csv="more.csv", images="other"),)), data)
    (data / "sample_submission.csv").write_text(f"id,kind\nt,x\n{name},x\n")
    with pytest.raises(DataError, match=r"sample_submission\.csv: 1 id .* would lead out of"):
        read_test_table(FORM, data, read_table(FORM, data))


def test_steps_up_within_the_data_folder_and_links_are_fine(data, monkeypatch):
    write(data, "../other/d", "sub/../sub/c", "a..b", "../linked/l")
    table = read_table(FORM, data)
    assert table.ids.tolist() == ["a", "b", "../other/d", "sub/../sub/c", "a..b", "../linked/l"]
    monkeypatch.chdir(data)
    assert len(read_table(FORM, data.relative_to(data))) == 6, "a relative data folder is one too"


def test_a_folder_of_images_beside_the_data_folder_is_a_place_of_its_own(data, tmp_path):
    """`new --hold-out` writes such a folder."""
    form = replace(FORM, train_images="../elsewhere/deep")
    (tmp_path / "elsewhere" / "deep" / "in").mkdir()
    (tmp_path / "elsewhere" / "deep" / "m.png").touch()
    (data / "train.csv").write_text("id,kind\nl,x\nin/../m,y\n")
    assert len(read_table(form, data)) == 2
    (data / "train.csv").write_text("id,kind\nl,x\n../secret,y\n")
    with pytest.raises(DataError, match=r"1 id \(\.\./secret\) would lead out of"):
        read_table(form, data)


def test_a_hundred_thousand_ids_cost_next_to_nothing(data):
    ids = pd.Series([f"{number:032x}" for number in range(100_000)], dtype=str)
    began = time.process_time()
    refuse_leaving(ids, data / "train.csv", data / "train", data)
    assert time.process_time() - began < 2


def test_images_and_folders_whose_name_is_no_text_are_told(data):
    write(data)
    (data / "train" / "caf\udce9.png").touch()
    assert read_table(FORM, data).remarks[-1].endswith("(a..b.png, caf\\udce9.png) without a row in the table")
    (data / "train").rename(data / "tr\udce9in")
    with pytest.raises(DataError, match=r"tr\\udce9in: its name is not UTF-8"):
        read_table(replace(FORM, train_images="tr\udce9in"), data)


NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("suffix", "files", "ids", "found"),
    [
        (".jpg", ["a.jpg", "b.JPG", "c.png", "d.jpeg"], "a b c d", "a.jpg b.JPG c.png d.jpeg"),
        ("", ["a.jpg", "b.png"], "a b.png", "a.jpg b.png"),
        ("", ["a.jpg", "b.png"], "a.png b.jpg", "a.jpg b.png"),  # what a file holds is seen anyway
        (".png", ["a.png", "b.png"], "a.png b", "a.png b.png"),
        (".jpg", [f"{NFD}.jpg"], NFC, f"{NFD}.jpg"),
        (".jpg", [f"{NFC}.JPG"], NFD, f"{NFC}.JPG"),
        (".png", ["in/a.png", "in/b.tif"], "in/a in/b", "in/a.png in/b.tif"),
        (".png", ["1.2.8.png", "1.2.png"], "1.2.8 1.2", "1.2.8.png 1.2.png"),  # 8 is no ending
        ("_mask.png", ["a_mask.PNG", "b.png"], "a", "a_mask.PNG"),
    ],
)
def test_an_image_is_found_whatever_its_ending_and_its_form(tmp_path, suffix, files, ids, found):
    for file in files:
        path = tmp_path / "train" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "train.csv").write_text("id,kind\n" + "".join(f"{name},x\n" for name in ids.split()))
    table = read_table(replace(FORM, image_suffix=suffix), tmp_path)
    assert [os.path.relpath(path, tmp_path / "train") for path in table.paths] == found.split()
    assert all(map(os.path.isfile, table.paths))
    others = [name for name, file in zip(ids.split(), found.split(), strict=True) if name + suffix != file]
    assert any("found by another name than the id" in remark for remark in table.remarks) == bool(others)


@pytest.mark.parametrize(
    ("suffix", "files", "ids", "message"),
    [
        (".bmp", ["a.jpg", "a.png"], "a", r"1 id \(a: a\.jpg or a\.png\) that may mean several files"),
        (".jpg", ["a.jpg"], "a a.png", r"2 ids \(a: a\.jpg, a\.png: a\.jpg\) with the same file as another id"),
        ("_mask.png", ["a.png"], "a", r"1 row \(a\) without an image"),  # which is another picture
    ],
)
def test_an_image_that_is_not_plainly_meant_is_refused(tmp_path, suffix, files, ids, message):
    (tmp_path / "train").mkdir()
    for file in files:
        (tmp_path / "train" / file).touch()
    (tmp_path / "train.csv").write_text("id,kind\n" + "".join(f"{name},x\n" for name in ids.split()))
    with pytest.raises(DataError, match=message):
        read_table(replace(FORM, image_suffix=suffix), tmp_path)


def test_channel_files_are_found_in_either_form(tmp_path):
    (tmp_path / "train").mkdir()
    for channel in ("red", "green"):
        (tmp_path / "train" / f"{NFD}_{channel}.png").touch()
    (tmp_path / "train.csv").write_text(f"id,kind\n{NFC},x\n")
    table = read_table(replace(FORM, image_suffix="_*.png", channel_files=("red", "green")), tmp_path)
    assert [os.path.basename(path) for path in table.paths] == [f"{NFD}_*.png"]
