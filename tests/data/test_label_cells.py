"""Labels in columns of 0 and 1, and in lists; compared with pandas and Python's own reading of lists."""

import ast
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from imettk.config import TableFormat
from imettk.data.csv_files import read_csv
from imettk.data.label_cells import are_lists, as_flags, as_table, parse_list, write_list
from imettk.data.labels import split
from imettk.data.table import read_answers, read_table, read_test_table
from imettk.errors import ConfigError, DataError

COLUMNS = ("ETT - Normal", "a b", "rust", "zebra")
FLAGS = TableFormat(label_columns=COLUMNS)
CLASSES = replace(FLAGS, task="multiclass")
LISTS = TableFormat(label_column="tags", label_lists=True)


def lay_out(folder, text, sample="id,x\nt,0\n"):
    (folder / "train.csv").write_text(text)
    (folder / "sample_submission.csv").write_text(sample)
    for kind, names in {"train": read_csv(folder / "train.csv")["id"], "test": ["t"]}.items():
        (folder / kind).mkdir(exist_ok=True)
        for name in names:
            (folder / kind / f"{name}.png").touch()
    return folder


def in_columns(values, ids=None):
    frame = pd.DataFrame(values, columns=list(COLUMNS), dtype=object)
    frame.insert(0, "id", [f"i{row}" for row in range(len(frame))])
    return frame.to_csv(index=False)


def test_columns_of_0_and_1_are_targets_as_they_stand(tmp_path):
    values = np.random.default_rng(0).integers(0, 2, (30, 4))
    values[:2] = [[0] * 4, [1] * 4]
    sample = "id," + ",".join(reversed(COLUMNS)) + "\nt,0,0,0,0\n"
    lay_out(tmp_path, in_columns(values), sample)
    table = read_table(FLAGS, tmp_path)
    assert table.labels == COLUMNS
    np.testing.assert_array_equal(table.targets, values)
    assert FLAGS.filled_columns == COLUMNS and read_test_table(FLAGS, tmp_path, table).labels == COLUMNS
    np.testing.assert_array_equal(read_answers(FLAGS, tmp_path / "train.csv", COLUMNS, table.ids), values)


def test_one_1_a_row_is_its_class_and_true_and_false_are_1_and_0(tmp_path):
    classes = np.random.default_rng(1).integers(0, 4, 20)
    for no, yes in (("0", "1"), ("0.0", "1.0"), ("False", "True"), (" false", "TRUE ")):
        values = np.where(np.eye(4)[classes] > 0, yes, no)
        lay_out(tmp_path, in_columns(values))
        np.testing.assert_array_equal(read_table(CLASSES, tmp_path).targets, classes)


@pytest.mark.parametrize(
    ("form", "row", "message"),
    [
        (FLAGS, ["1", "0.5", "0", "0"], r"1 row \(i1\) with neither 0 nor 1 in column a b, but '0\.5'"),
        (FLAGS, ["1", "0", "", "-1"], r"1 row \(i1\) with neither 0 nor 1 in column rust, but ''"),
        (CLASSES, ["1", "0", "1", "0"], r"`table.task` to multilabel"),
        (CLASSES, ["0", "0", "0", "0"], r"1 row \(i1\) without a class in column ETT - Normal, a b, rust, zebra"),
        (replace(FLAGS, label_columns=(*COLUMNS, "no")), ["0"] * 4, r"train\.csv has no column no"),
    ],
)
def test_other_cells_are_refused(tmp_path, form, row, message):
    lay_out(tmp_path, in_columns([["0", "0", "1", "0"], row]))
    with pytest.raises(DataError, match=message):
        read_table(form, tmp_path)


@pytest.mark.parametrize(
    "cell",
    ["['a', 'b']", '["a", "it\'s, b"]', "[3, 7]", "('x',)", "[]", " [ 'a' ] ", "['it\\'s']", "[1.5, 'New York']"],
)
def test_lists_are_what_python_reads(cell):
    assert parse_list(cell) == [str(item) for item in ast.literal_eval(cell.strip())]


@pytest.mark.parametrize(
    "cell", ["a b", "['a' 'b']", "[a, b]", "{'a': 1}", "['a'", "[['a']]", "__import__('os')", "[x for x in 'a']"]
)
def test_what_is_no_list_is_none(cell):
    assert parse_list(cell) is None


def test_lists_make_targets_and_come_back(tmp_path):
    rows = [["b", "a"], [], ["it's, c"], ["a"]]
    frame = pd.DataFrame({"id": list("wxyz"), "tags": list(map(str, rows))})
    lay_out(tmp_path, frame.to_csv(index=False))
    table = read_table(LISTS, tmp_path)
    assert table.labels == ("a", "b", "it's, c")
    assert table.targets.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert [ast.literal_eval(write_list(row)) for row in rows] == rows and write_list(["3", "-7"]) == "[3, -7]"
    (tmp_path / "train.csv").write_text(frame.assign(tags=["a b", "[]", "[]", "x"]).to_csv(index=False))
    with pytest.raises(DataError, match=r"2 cells \(a b, x\) of column tags in place of lists .*--table.label-lists"):
        read_table(LISTS, tmp_path)


@pytest.mark.parametrize("form", [FLAGS, LISTS, TableFormat(label_separator="|")])
def test_rows_are_written_as_the_training_table_has_them(tmp_path, form):
    rows = [["rust", "a b"], ["zebra"]]
    form = replace(form, train_images="train")
    lay_out(tmp_path, as_table(["p", "q"], rows, form).to_csv(index=False))
    table = read_table(form, tmp_path)
    held = [{table.labels[place] for place in np.flatnonzero(row)} for row in table.targets]
    assert held == [set(row) for row in rows] and table.ids.tolist() == ["p", "q"]


def test_answers_in_columns():
    assert as_flags([["b"], [], ["a", "b"]], ["a", "b"]) == [["0", "1"], ["0", "0"], ["1", "1"]]
    with pytest.raises(DataError, match=r"1 label \(c\) without a column among a, b"):
        as_flags([["c"]], ["a", "b"])


def test_forms_that_exclude_each_other_are_refused():
    for wrong in (
        {"label_columns": ("a", "a")},
        {"label_columns": ("a", "b"), "label_lists": True},
        {"label_columns": ("a", "b"), "task": "multiclass", "train_folders": True},
        {"label_lists": True, "task": "multiclass"},
    ):
        with pytest.raises(ConfigError, match=r"label_columns|label_lists"):
            TableFormat(**wrong)
    assert split("a\x1fb c", FLAGS) == ["a", "b c"]


def test_cells_are_lists_where_all_that_are_filled_are():
    assert are_lists(["[1, 2]", "", "[]"]) and are_lists(["['a']"])
    assert are_lists(["1 2", "[1]"]) is False and are_lists(["[1, a]"]) is False and are_lists(["", " "]) is None
