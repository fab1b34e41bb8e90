"""Labels of questions from the cells of their columns, and back."""

import pandas as pd

from imettk.config.table import CELL_SEPARATOR
from imettk.data.question_cells import classes_in_order, join_questions, question_labels, split_questions

FRAME = pd.DataFrame({"root": ["10", " 9", "2"], "word": ["b", "", "a b"]}, dtype=str)


def test_classes_are_sorted_as_numbers_where_all_are():
    assert classes_in_order(["10", "9 ", "", "-1.5"]) == ["-1.5", "9", "10"]
    assert classes_in_order(["10", "9", "x"]) == ["10", "9", "x"]


def test_labels_of_all_tables_stand_by_column():
    more = pd.DataFrame({"root": ["3"], "word": ["b"]}, dtype=str)
    labels = question_labels([FRAME, more], ["word", "root"])
    assert list(labels) == ["word=a b", "word=b", "root=2", "root=3", "root=9", "root=10"]
    assert list(labels.values()) == ["word"] * 2 + ["root"] * 4


def test_rows_are_joined_without_empty_cells_and_taken_apart():
    joined = join_questions(FRAME, ["root", "word"])
    rows = [cell.split(CELL_SEPARATOR) for cell in joined]
    assert rows == [["root=10", "word=b"], ["root=9"], ["root=2", "word=a b"]]
    assert split_questions([rows[0], rows[2]], ["root", "word"]) == [["10", "b"], ["2", "a b"]]
