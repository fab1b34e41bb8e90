"""Identities: unknown ones, several names of one, folders as labels, labels only in extra tables."""

import csv
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from places import SHARED

from imettk.config import ExtraTable, TableFormat
from imettk.data.table import read_answers, read_table, read_test_table
from imettk.errors import DataError

REAL = SHARED / "data" / "tables" / "humpback2019"
WHALES = TableFormat(
    task="multiclass", id_column="Image", label_column="Id", image_suffix="", unknown_label="new_whale"
)  # fmt: skip
TRAIN = "Image,Id\n1.jpg,w_b\n2.jpg,new_whale\n3.jpg,w_a\n4.jpg,w_c\n5.jpg,w_c\n6.jpg,w_a\n"


def lay_out(folder, files, *images):
    for name, text in files.items():
        (folder / name).write_text(text)
    for name in images:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def whales(tmp_path):
    return lay_out(tmp_path, {"train.csv": TRAIN}, *(f"train/{number}.jpg" for number in range(1, 7)))


def test_the_unknown_label_is_no_label(whales):
    table = read_table(WHALES, whales)
    assert table.labels == ("w_a", "w_b", "w_c")
    assert table.targets.tolist() == [1, -1, 0, 2, 2, 0] and table.targets.dtype == np.int64
    (whales / "labels.csv").write_text("attribute_id,attribute_name\nw_c,x::c\nnew_whale,y::new\nw_a,z::a\nw_b,x::b\n")
    listed = read_table(replace(WHALES, labels_csv="labels.csv"), whales)
    assert listed.labels == ("w_c", "w_a", "w_b") and listed.label_groups == ("x", "z", "x")
    assert listed.targets.tolist() == [2, -1, 1, 0, 0, 1]
    answers = read_answers(WHALES, whales / "train.csv", table.labels, np.array(["2.jpg", "4.jpg"]))
    assert answers.tolist() == [-1, 2]
    with pytest.raises(DataError, match=r"1 label \(new_whale\) not in the training table"):
        read_answers(replace(WHALES, unknown_label=None), whales / "train.csv", table.labels, np.array(["2.jpg"]))


def test_merged_names_take_that_with_the_most_rows_the_first_of_equal_ones(whales):
    (whales / "same.csv").write_text("Id,SubId\ng0,w_b w_c w_gone\n")
    table = read_table(replace(WHALES, merged_csv="same.csv"), whales)
    assert table.labels == ("w_a", "w_c") and table.targets.tolist() == [1, -1, 0, 1, 1, 0]
    assert [line.partition(": ")[2] for line in table.remarks] == [
        "1 label (w_b) merged into others, with 1 rows in total",
        "1 name (w_gone) not in the training table",
    ]
    (whales / "same.csv").write_text("SubId\nw_c w_a\n")
    form = replace(WHALES, merged_csv="same.csv")
    table = read_table(form, whales)
    assert table.labels == ("w_b", "w_c") and table.targets.tolist() == [0, -1, 1, 1, 1, 1]
    ids = np.array(["3.jpg", "2.jpg", "1.jpg"])
    answers = read_answers(form, whales / "train.csv", table.labels, ids, data_dir=whales)
    assert answers.tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [("w_a w_b\nw_c w_a", r"1 id \(w_a\) more than once"), ("w_a new_whale", "new_whale stands for many identities")],
)
def test_merges_that_cannot_be_are_refused(whales, lines, message):
    (whales / "same.csv").write_text(f"SubId\n{lines}\n")
    with pytest.raises(DataError, match=message):
        read_table(replace(WHALES, merged_csv="same.csv"), whales)


def test_labels_of_an_extra_table_are_labels_where_the_recipe_says_so(whales):
    lay_out(whales, {"more.csv": "Image,Id\n7.jpg,w_aa\n8.jpg,w_c\n9.jpg,new_whale\n"}, "m/7.jpg", "m/8.jpg", "m/9.jpg")
    extra = ExtraTable(csv="more.csv", images="m", new_labels=True)
    table = read_table(replace(WHALES, extra=(extra,)), whales)
    assert table.labels == ("w_a", "w_aa", "w_b", "w_c")
    assert table.targets.tolist() == [2, -1, 0, 3, 3, 0, 1, 3, -1]
    assert sorted(set(table.targets[(table.sources == 0) & (table.targets >= 0)])) == [0, 2, 3]
    with pytest.raises(DataError, match=r"more.csv: 1 label \(w_aa\) not in the training table"):
        read_table(replace(WHALES, extra=(replace(extra, new_labels=False),)), whales)


def test_images_without_a_row_are_not_told_where_tables_share_a_folder(whales):
    (whales / "train" / "spare.jpg").touch()
    assert "1 image (spare.jpg) without a row" in read_table(WHALES, whales).remarks[0]
    assert read_table(replace(WHALES, test_images="train"), whales).remarks == ()


BOXES = "Image,x0,y0,x1,y1\n1.jpg,0,0,2,2\n2,0,0,2,2\n3.jpg,0,0,2,2\n6.jpg,0,0,2,2\n"


def test_rows_without_a_box_are_counted_and_boxes_of_other_names_are_refused(whales):
    lay_out(
        whales, {"boxes.csv": BOXES, "sample_submission.csv": "Image,Id\n8.jpg,\n9.jpg,\n"}, "test/8.jpg", "test/9.jpg"
    )
    table_format = replace(WHALES, boxes_csv="boxes.csv")
    table = read_table(table_format, whales)
    assert np.isnan(table.boxes[:, 0]).tolist() == [False, True, False, True, True, False]
    (remark,) = table.remarks
    assert "3 rows (2.jpg, 4.jpg, 5.jpg) without a box in boxes.csv" in remark
    (remark,) = read_test_table(table_format, whales, table).remarks
    assert "2 rows (8.jpg, 9.jpg) without a box" in remark
    lay_out(whales, {"boxes.csv": BOXES.replace(".jpg", ".png")})
    with pytest.raises(DataError, match=r"none of its names matches a row of .*, such as 1\.jpg; .* --table.box-id"):
        read_table(table_format, whales)


def test_images_that_are_left_out_have_a_row_all_the_same(whales):
    lay_out(whales, {"out.csv": "2.jpg\n7.jpg\n"}, "train/7.jpg")
    table = read_table(replace(WHALES, left_out_csv="out.csv"), whales)
    assert table.ids.tolist() == ["1.jpg", "3.jpg", "4.jpg", "5.jpg", "6.jpg"]
    unknown, left_out, spare = table.remarks
    assert "1 name (7.jpg) without a row" in unknown
    assert "left out 1 row (2.jpg) listed in out.csv" in left_out and "1 image (7.jpg) without a row" in spare


def test_real_humpbacks(tmp_path):
    if not REAL.is_dir():
        pytest.skip("shared/data/tables/humpback2019 is not here")
    with open(REAL / "train.csv", newline="") as file:
        rows = [(row["Image"], row["Id"]) for row in csv.DictReader(file)][:6000]
    for name in ("boxes.csv", "duplicate_ids.csv"):
        (tmp_path / name).write_text((REAL / name).read_text())
    lay_out(tmp_path, {"train.csv": "\n".join(["Image,Id", *map(",".join, rows)])}, *(f"train/{n}" for n, _ in rows))
    table = read_table(replace(WHALES, boxes_csv="boxes.csv", merged_csv="duplicate_ids.csv"), tmp_path)
    counts = Counter(label for _, label in rows)
    name_of = {}
    with open(tmp_path / "duplicate_ids.csv", newline="") as file:
        for row in csv.DictReader(file):
            line = row["SubId"].split()
            most = max(counts[name] for name in line)
            kept = next(name for name in line if counts[name] == most)
            name_of |= dict.fromkeys(line, kept)
    expected = [name_of.get(label, label) for _, label in rows]
    assert [table.labels[target] if target >= 0 else "new_whale" for target in table.targets] == expected
    assert list(table.labels) == sorted(set(expected) - {"new_whale"})
    assert not np.isnan(table.boxes).any()
