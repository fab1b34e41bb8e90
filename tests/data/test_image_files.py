"""Ids name images within the data folder, and lead nowhere else."""

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
    """A data folder beside a secret; `linked` leads out of it, as links may."""
    for place in ("data/train/sub", "data/other", "data/test", "elsewhere/deep"):
        (tmp_path / place).mkdir(parents=True)
    for name in ("secret", "elsewhere/secret", "elsewhere/deep/l"):
        (tmp_path / f"{name}.png").touch()
    for name in ("train/a", "train/b", "train/a..b", "train/sub/c", "other/d", "test/t"):
        (tmp_path / "data" / f"{name}.png").touch()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "data" / "sample_submission.csv").write_text("id,kind\nt,x\n")
    return tmp_path / "data"


def write(data, *ids, name="train.csv"):
    (data / name).write_text("id,kind\na,x\nb,y\n" + "".join(f"{one},x\n" for one in ids))


OUTSIDE = [
    "../../secret",
    "sub/../../../secret",
    "./../../data/../secret",
    "..\\..\\secret",
    "../linked/../secret",  # from where the link leads to
    "C:\\secret",
    "\\secret",
]


@pytest.mark.parametrize("name", [*OUTSIDE, "{top}/secret", "{top}/data/train/a"])
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
    """As `new --hold-out` writes it."""
    form = replace(FORM, train_images="../elsewhere/deep")
    (tmp_path / "elsewhere" / "deep" / "in").mkdir()
    (data / "train.csv").write_text("id,kind\nl,x\nin/../l,y\n")
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
    with pytest.raises(DataError, match=r"tr\\udce9in: its name is no UTF-8"):
        read_table(replace(FORM, train_images="tr\udce9in"), data)
