"""Tables of every kind are read as written, and every bad row is named and counted."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_tables import DATA, KINDS, MULTICLASS, MULTILABEL, SAMPLE, TRAIN, lay_out

from imettk.config import ExtraTable, Recipe, TableFormat, from_json, to_json
from imettk.data.sample_table import SampleTable
from imettk.data.table import read_answers, read_table, read_test_table
from imettk.errors import ConfigError, DataError

NO_CSV = TableFormat(train_csv="gone.csv")


def test_multilabel_with_names_and_groups(tmp_path):
    lay_out(tmp_path, TRAIN, "train/007", "train/008", "train/9")
    table = read_table(MULTILABEL, tmp_path)
    assert table.ids.tolist() == ["007", "008", "9"]  # text, so zeros stay
    assert table.paths.tolist() == [str(tmp_path / "train" / name) for name in ("007.png", "008.png", "9.png")]
    assert table.labels == ("2", "0", "1", "10")
    assert table.label_groups == ("tag", "culture", "", "tag")
    assert table.titles == ("tag::cat", "culture::french", "plain", "tag::a::b")
    assert table.targets.tolist() == [[1, 1, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0]]
    assert table.targets.dtype == np.uint8
    assert table.groups.tolist() == ["a", "b", "a"]
    assert table.remarks == ()


def test_an_id_may_hold_a_folder(tmp_path):
    lay_out(tmp_path, "id,attribute_ids\nab/1,0\nab/2,0\n")
    (tmp_path / "train" / "ab").mkdir()
    (tmp_path / "train" / "ab" / "1.png").touch()
    with pytest.raises(DataError, match=r"1 row \(ab/2\) without an image"):
        read_table(TableFormat(), tmp_path)
    (tmp_path / "train" / "ab" / "2.png").touch()
    assert read_table(TableFormat(), tmp_path).ids.tolist() == ["ab/1", "ab/2"]


@pytest.mark.parametrize(
    ("table_format", "train", "message"),
    [
        (NO_CSV, TRAIN, r"gone\.csv is missing: --data must be the competition's folder"),
        (MULTILABEL, "id,labels\n007,0\n", r"train\.csv has no column attribute_ids, group; it has id, labels\."),
        (MULTILABEL, TRAIN + "007,1,b\n9,0,a\n9,1,a\n", r"train\.csv: 2 ids \(007, 9\) more than once"),
        (MULTILABEL, TRAIN.replace("2 0", "2 5 77"), r"2 labels \(5, 77\) not in labels\.csv"),
        (MULTICLASS, KINDS.replace("big cat", " "), r"1 row \(1\) without a class in column kind"),
        (MULTILABEL, "id,attribute_ids,group\n", "no row is left to train on"),
        (TableFormat(), 'id,attribute_ids\n007,""\n', "column attribute_ids holds no label at all"),
        (TableFormat(), "", "is not a readable csv table"),
        (TableFormat(), 'id,attribute_ids\n"007,0\n', "line 2: a quotation mark opens a cell"),
        (TableFormat(), "id,attribute_ids\n007,0,a\n008,1,b\n", "its rows have more cells than its header"),
        (TableFormat(), "id,attribute_ids\n007,0,a\n008,1\n", "its rows have more cells than its header"),
        (TableFormat(train_csv="train"), "", r"train cannot be read: Is a directory"),
    ],
)
def test_bad_tables_are_refused(tmp_path, table_format, train, message):
    lay_out(tmp_path, train, *(f"train/{name}" for name in ("007", "008", "9", "0", "1", "2")))
    with pytest.raises(DataError, match=message):
        read_table(table_format, tmp_path)


def test_a_missing_image_folder_is_named(tmp_path):
    lay_out(tmp_path, TRAIN)
    (tmp_path / "train").rmdir()
    with pytest.raises(DataError, match="train is missing: the recipe's `table` expects images there"):
        read_table(MULTILABEL, tmp_path)


def test_rows_without_an_image_stop_or_are_dropped_and_only_the_first_are_named(tmp_path):
    ids = [f"{number:03d}" for number in range(10)]
    lay_out(tmp_path, "id,attribute_ids\n" + "".join(f"{name},0\n" for name in ids), "train/003", "train/008")
    named = r"8 rows \(000, 001, 002, 004, 005, \.\.\.\) without an image"
    with pytest.raises(DataError, match=named + ".*--table.on-missing-image drop"):
        read_table(TableFormat(), tmp_path)
    table = read_table(TableFormat(on_missing_image="drop"), tmp_path)
    assert table.ids.tolist() == ["003", "008"]
    assert len(table.remarks) == 1 and "dropped 8 rows (000, 001, 002, 004, 005, ...)" in table.remarks[0]


def test_dropping_every_row_is_refused(tmp_path):
    lay_out(tmp_path, TRAIN)
    with pytest.raises(DataError, match="no row is left to train on"):
        read_table(TableFormat(on_missing_image="drop"), tmp_path)


def test_images_without_a_row_and_rows_without_a_label_are_remarks(tmp_path):
    lay_out(tmp_path, TRAIN.replace("10,b", ",b"), "train/007", "train/008", "train/9", "train/8", "train/x")
    (tmp_path / "train" / "notes.txt").touch()  # not an image
    table = read_table(MULTILABEL, tmp_path)
    assert table.targets[1].tolist() == [0, 0, 0, 0]
    images, labels = table.remarks
    assert "2 images (8.png, x.png) without a row" in images
    assert "1 row (008) without any label" in labels


def test_take_keeps_rows_together_in_the_given_order(tmp_path):
    lay_out(tmp_path, TRAIN, "train/007", "train/008", "train/9")
    table = read_table(MULTILABEL, tmp_path)
    some = table.take(np.array([2, 0]))
    assert len(some) == 2
    assert some.ids.tolist() == ["9", "007"]
    assert [Path(path).stem for path in some.paths] == ["9", "007"]
    assert some.targets.tolist() == table.targets[[2, 0]].tolist()
    assert some.groups.tolist() == ["a", "a"]


def test_images_without_a_box_and_names_without_an_image_are_counted(tmp_path):
    lay_out(tmp_path, TRAIN, "train/007", "train/008", "train/9", "test/t1", "test/t2")
    (tmp_path / "boxes.csv").write_text("Image,x0,y0,x1,y1\n007.png,1,2,3,4\nt1.png,0,0,1,1\nelse.png,0,0,1,1\n")
    (tmp_path / "turned.txt").write_text("9.png\nt2\nnowhere\n")
    (tmp_path / "out.txt").write_text("008.png\n8\n")
    form = replace(MULTILABEL, boxes_csv="boxes.csv", turned_csv="turned.txt", left_out_csv="out.txt")
    table = read_table(form, tmp_path)
    assert table.ids.tolist() == ["007", "9"] and np.isnan(table.boxes[:, 0]).tolist() == [False, True]
    csv = tmp_path / "train.csv"
    assert table.remarks == (
        f"out.txt: 1 name (8) without a row in {csv}",
        f"{csv}: left out 1 row (008) listed in out.txt",
        f"{csv}: 1 of 2 images are turned, as listed in turned.txt",
        f"{csv}: 1 row (9) without a box in boxes.csv; the whole image is used",
    )
    test = read_test_table(form, tmp_path, table)
    sample = tmp_path / "sample_submission.csv"
    assert test.remarks == (
        f"{sample}: 1 row (t2) without a box in boxes.csv; the whole image is used",
        f"{sample}: 1 of 2 images are turned, as listed in turned.txt",
    )
    (tmp_path / "boxes.csv").write_text("Image,x0,y0,x1,y1\n007.jpg,1,2,3,4\nt1.jpg,0,0,1,1\n")
    assert read_test_table(form, tmp_path, table).remarks[0].startswith(f"{sample}: 2 rows (t2, t1) without a box")
    with pytest.raises(DataError, match=r"none of its names matches a row of .*--table\.box-id-column"):
        read_table(form, tmp_path)


def test_the_test_table_is_the_sample_in_its_order(tmp_path):
    lay_out(tmp_path, TRAIN, "train/007", "train/008", "train/9", "test/t1", "test/t2")
    table = read_table(MULTILABEL, tmp_path)
    test = read_test_table(MULTILABEL, tmp_path, table)
    assert test.ids.tolist() == ["t2", "t1"]
    assert [Path(path).name for path in test.paths] == ["t2.png", "t1.png"]
    assert test.targets is None
    assert (test.labels, test.label_groups) == (table.labels, table.label_groups)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("id,attribute_ids\nt8,0\nt9,0\n", r"2 rows \(t8, t9\) without an image in .*test .*right folder"),
        (SAMPLE + "t2,0\n", r"1 id \(t2\) more than once"),
        ("id,other\nt1,0\n", "has no column attribute_ids"),
    ],
)
def test_a_bad_sample_is_refused(tmp_path, sample, message):
    lay_out(tmp_path, TRAIN, "train/007", "train/008", "train/9", "test/t1", "test/t2", sample=sample)
    with pytest.raises(DataError, match=message):
        read_test_table(MULTILABEL, tmp_path, read_table(MULTILABEL, tmp_path))


def test_a_test_row_without_an_image_is_kept_and_named(tmp_path):
    lay_out(tmp_path, TRAIN, "train/007", "train/008", "train/9", "test/t1", "test/t2", sample=SAMPLE + "t3,0\n")
    test = read_test_table(MULTILABEL, tmp_path, read_table(MULTILABEL, tmp_path))
    assert test.ids.tolist() == ["t2", "t1", "t3"]
    assert any("1 row (t3) without an image" in remark for remark in test.remarks)


def test_an_image_of_several_files_needs_them_all(tmp_path):
    channels = ("red", "green")
    files = [f"train/{name}_{channel}" for name in ("007", "008", "9") for channel in channels]
    lay_out(tmp_path, TRAIN, *files, "train/9_blue")
    grey = replace(MULTILABEL, image_suffix="_*.png", channel_files=channels)
    table = read_table(grey, tmp_path)
    assert [Path(path).name for path in table.paths] == ["007_*.png", "008_*.png", "9_*.png"]
    assert any("1 image (9_blue.png) without a row" in remark for remark in table.remarks)
    (tmp_path / "train" / "008_green.png").unlink()
    with pytest.raises(DataError, match=r"1 row \(008\) without an image"):
        read_table(grey, tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"image_suffix": "_*.png"}, {"channel_files": ("a", "b")}], ids=["no names", "no place for names"]
)
def test_names_of_channels_and_their_place_belong_together(wrong):
    with pytest.raises(ConfigError, match="channel_files"):
        replace(MULTILABEL, **wrong)


def test_answers_are_joined_by_id(tmp_path):
    answers = tmp_path / "answers.csv"
    answers.write_text("id,attribute_ids\nspare,c\nt1,a c\nt2,b\n")
    labels = ("a", "b", "c")
    assert read_answers(TableFormat(), answers, labels, np.array(["t2", "t1"])).tolist() == [[0, 1, 0], [1, 0, 1]]
    with pytest.raises(DataError, match=r"no answer for 2 ids \(t3, t4\)"):
        read_answers(TableFormat(), answers, labels, np.array(["t4", "t1", "t3"]))
    with pytest.raises(DataError, match=r"1 label \(c\) not in the training table"):
        read_answers(TableFormat(), answers, ("a", "b"), np.array(["t1"]))


def read_clothing(**changes) -> SampleTable:
    if not (DATA / "clothing").is_dir():
        pytest.skip("shared/data/clothing is not here")
    table_format = TableFormat(
        task="multiclass", train_csv="images.csv", train_images="images", image_suffix=".jpg", id_column="image",
        label_column="label", group_column="sender_id", **changes,
    )  # fmt: skip
    return read_table(table_format, DATA / "clothing")


def test_real_multiclass_clothing():
    with pytest.raises(DataError, match=r"5 rows \(.*without an image"):
        read_clothing()
    table = read_clothing(on_missing_image="drop")
    with open(DATA / "clothing" / "images.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (DATA / "clothing/images" / f"{row['image']}.jpg").is_file()]
    assert table.ids.tolist() == [row["image"] for row in rows]
    assert [table.labels[target] for target in table.targets] == [row["label"] for row in rows]
    assert table.groups.tolist() == [row["sender_id"] for row in rows]
    assert list(table.labels) == sorted(Counter(row["label"] for row in rows))
    assert len(table.remarks) == 2  # the dropped rows, and the image without a row
    assert any("1 image (" in remark and "without a row" in remark for remark in table.remarks)


def test_rows_that_are_numbered_clash_with_those_of_an_extra_table(tmp_path):
    pixels = pd.DataFrame(np.zeros((4, 256), int)).add_prefix("pixel").assign(label=list("abab"))
    for name in ("train.csv", "more.csv"):
        pixels.to_csv(tmp_path / name, index=False)
    form = TableFormat(
        task="multiclass",
        id_column="row",
        label_column="label",
        train_images="train.csv",
        extra=(ExtraTable(csv="more.csv", images="more.csv"),),
    )
    line = r"train.csv: 4 ids .* more than once; .* in train.csv and more.csv together: add a column of unique ids"
    with pytest.raises(DataError, match=line):
        read_table(form, tmp_path)
    for name in ("train.csv", "more.csv"):
        pixels.assign(id=[f"{name}{row}" for row in range(4)]).to_csv(tmp_path / name, index=False)
    assert len(read_table(replace(form, id_column="id"), tmp_path)) == 8


def test_groups_by_a_pattern_of_the_id_also_in_extra_tables(tmp_path):
    lay_out(
        tmp_path, "id,attribute_ids\nE1_55_a,2\nE2_55_b,0\nplain,1\n", "train/E1_55_a", "train/E2_55_b", "train/plain"
    )
    (tmp_path / "more.csv").write_text("id,attribute_ids\nE7_55_c,2\nE8_66_d,0\n")
    (tmp_path / "more").mkdir()
    for name in ("E7_55_c", "E8_66_d"):
        (tmp_path / "more" / f"{name}.png").touch()
    extra = (ExtraTable(csv="more.csv", images="more"),)
    table = read_table(TableFormat(labels_csv="labels.csv", group_pattern="^[^_]+_([0-9]+)_", extra=extra), tmp_path)
    assert table.groups.tolist() == ["55", "55", "plain", "55", "66"]
    with pytest.raises(ConfigError, match="group_pattern"):
        TableFormat(group_pattern="[")
    with pytest.raises(ConfigError, match="group_pattern"):
        TableFormat(group_pattern="a", group_column="b")


def test_the_sample_may_name_its_answers_otherwise(tmp_path):
    sample = "id,Predicted\nt2,0\n"
    lay_out(tmp_path, TRAIN, "train/007", "train/008", "train/9", "test/t2", sample=sample)
    table = read_table(MULTILABEL, tmp_path)
    assert read_test_table(replace(MULTILABEL, answer_column="Predicted"), tmp_path, table).ids.tolist() == ["t2"]
    with pytest.raises(DataError, match="no column attribute_ids"):
        read_test_table(MULTILABEL, tmp_path, table)


def test_a_column_of_the_sample_that_nothing_fills_is_an_error_before_any_training(tmp_path):
    """The sample has one column per label, but the table names only one."""
    sample = "id,owl,hen,width\nt1,0.3,0.3,64\n"
    lay_out(tmp_path, "id,owl,hen\n007,1,0\n008,0,1\n", "train/007", "train/008", "test/t1", sample=sample)
    form = TableFormat(task="multiclass", label_column="owl", kept_columns=("width",))
    table = read_table(form, tmp_path)
    with pytest.raises(DataError, match=r"nothing would fill 1 column \(hen\): answers go only into owl"):
        read_test_table(form, tmp_path, table)
    both = replace(form, kept_columns=("width", "hen"))
    assert read_test_table(both, tmp_path, table).ids.tolist() == ["t1"]
    assert from_json(to_json(Recipe())).table.kept_columns == ()


@pytest.mark.parametrize(
    ("suffix", "ids", "hint"),
    [
        ("_x.png", ("007", "008"), r"would be 007_x\.png; there is 007\.png, so try --table\.image-suffix \.png"),
        (".jpg", ("17", "18"), r"\(that of 17 would be 17\.jpg\)"),
    ],
)
def test_where_an_image_was_looked_for_is_said(tmp_path, suffix, ids, hint):
    sample = "id,attribute_ids\n" + "".join(f"{name},0\n" for name in ids)
    images = [f"{folder}/{name}" for folder in ("train", "test") for name in ("007", "008")]
    lay_out(tmp_path, sample, *images, sample=sample)
    form = TableFormat(image_suffix=suffix)
    with pytest.raises(DataError, match=rf"train\.csv: 2 rows \(.*\) without an image in .*{hint}.*; add them"):
        read_table(form, tmp_path)
    labels = SampleTable(np.array([]), np.array([]), ("0",), ("",))
    with pytest.raises(DataError, match=rf"without an image in .*{hint}.*: is that the right folder\?"):
        read_test_table(form, tmp_path, labels)


def test_a_row_without_a_group_is_a_group_of_its_own(tmp_path):
    lay_out(tmp_path, "id,attribute_ids,group\n7,0,\n8,0,7\n9,0, \n10,0,7\n", *(f"train/{n}" for n in (7, 8, 9, 10)))
    table = read_table(MULTILABEL, tmp_path)
    assert table.groups.tolist() == ["row 7", "7", "row 9", "7"]
    assert any("2 rows (7, 9) without a group: each is a group of its own" in remark for remark in table.remarks)


def test_a_missing_table_of_answers_is_named_by_its_option(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv is missing: --answers names"):
        read_answers(MULTILABEL, tmp_path / "none.csv", ("0",), np.array(["a"]))
