"""Labels of a table: their origin, the splitting of cells, and the targets."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from sklearn.preprocessing import MultiLabelBinarizer
from small_tables import DATA, KINDS, LABELS, MULTICLASS, MULTILABEL, TRAIN, lay_out

from imettk.config import TableFormat
from imettk.data.table import read_answers, read_table, read_test_table
from imettk.errors import DataError


def test_labels_from_the_train_table_are_its_own_sorted_as_text(tmp_path):
    lay_out(tmp_path, TRAIN, "train/007", "train/008", "train/9")
    table = read_table(TableFormat(), tmp_path)
    assert table.labels == ("0", "1", "10", "2")
    assert table.label_groups == ("",) * 4
    assert table.groups is None
    assert table.targets.tolist() == [[1, 0, 0, 1], [0, 0, 1, 0], [1, 1, 0, 0]]


def test_multiclass_keeps_a_label_with_the_separator_whole(tmp_path):
    lay_out(tmp_path, KINDS, "train/0", "train/1", "train/2")
    table = read_table(MULTICLASS, tmp_path)
    assert table.labels == ("big cat", "owl")
    assert table.targets.tolist() == [1, 0, 1]
    assert table.targets.dtype == np.int64


def test_another_separator_and_blanks_around_labels(tmp_path):
    lay_out(tmp_path, "id,attribute_ids\n0,a | b c\n1,b c|\n", "train/0", "train/1")
    table = read_table(TableFormat(label_separator="|"), tmp_path)
    assert table.labels == ("a", "b c")
    assert table.targets.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("attribute_id,name\n0,a\n", r"labels\.csv has no column attribute_name"),
        (LABELS + "0,twice\n", r"labels\.csv: 1 id \(0\) more than once"),
    ],
)
def test_bad_label_lists_are_refused(tmp_path, labels, message):
    lay_out(tmp_path, TRAIN, "train/007", "train/008", "train/9", labels=labels)
    with pytest.raises(DataError, match=message):
        read_table(MULTILABEL, tmp_path)


def test_a_label_of_dropped_rows_alone_stays_a_label(tmp_path):
    lay_out(tmp_path, "id,attribute_ids\n003,0\n004,0 7\n", "train/003")
    table = read_table(TableFormat(on_missing_image="drop"), tmp_path)
    assert table.labels == ("0", "7") and table.targets.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("name", "id_column", "label_column"),
    [("imet2019/train_with_folds.csv", "id", "attribute_ids"), ("hpa2018/train.csv", "Id", "Target")],
)
def test_real_multilabel_tables_equal_scikit_learn(tmp_path, name, id_column, label_column):
    source = DATA / "tables" / name
    if not source.is_file():
        pytest.skip(f"shared/data/tables/{name} is not here")
    with open(source, newline="") as file:
        lines = file.read().splitlines()[:1501]
    rows = list(csv.DictReader(lines))
    lay_out(tmp_path, "\n".join(lines), *(f"train/{row[id_column]}" for row in rows))
    table = read_table(TableFormat(id_column=id_column, label_column=label_column), tmp_path)
    binarizer = MultiLabelBinarizer()
    expected = binarizer.fit_transform([row[label_column].split() for row in rows])
    assert table.ids.tolist() == [row[id_column] for row in rows]
    assert list(table.labels) == binarizer.classes_.tolist()
    np.testing.assert_array_equal(table.targets, expected)


def test_the_labels_of_one_group_alone(tmp_path):
    lay_out(tmp_path, TRAIN, "train/007", "train/008", "train/9", "test/t1", "test/t2")
    table_format = replace(MULTILABEL, only_group="tag")
    table = read_table(table_format, tmp_path)
    assert table.labels == ("2", "10") and table.label_groups == ("tag", "tag")
    assert table.titles == ("tag::cat", "tag::a::b")
    assert table.targets.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert "1 row (9) without any label" in " ".join(table.remarks)
    test = read_test_table(table_format, tmp_path, table)
    assert test.labels == table.labels and test.titles == table.titles
    answers = read_answers(table_format, tmp_path / "train.csv", table.labels, np.array(["9", "007"]))
    assert answers.tolist() == [[0, 0], [1, 0]]
    with pytest.raises(DataError, match="'colour' is not a label group; there are 3 groups"):
        read_table(replace(MULTILABEL, only_group="colour"), tmp_path)
