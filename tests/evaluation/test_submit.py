"""Answers are written in the sample's own form: as lists where it has lists, else joined by its sign."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from imettk.data.table_files import read_rows
from imettk.errors import DataError
from imettk.evaluation.submit import check_sample, submit
from imettk.recipes.digits import digits
from imettk.tracking.run_dir import RunDir

IDS, ROWS = np.array(["q0", "q1", "q2"]), [["2", "11"], ["7"], []]


def recipe_of(**form):
    base = digits()
    table = replace(base.table, task="multilabel", labels_csv=None, id_column="id", label_column="tags", **form)
    return replace(base, table=table, rule=replace(base.rule, kind="threshold", min_labels=0))


def answer(tmp_path, recipe, cells):
    pd.DataFrame({"id": IDS, "tags": cells}).to_csv(tmp_path / recipe.table.sample_csv, index=False)
    check_sample(recipe, tmp_path, ["11", "2", "7"])
    submit(recipe, tmp_path, RunDir(tmp_path / "run"), IDS, ROWS, "made up")
    return read_rows(tmp_path / "run" / "submission.csv")["tags"].tolist()


@pytest.mark.parametrize("label_lists", [True, False])
@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["66 105", "66 105", "66"], ["2|11", "7", ""]),
        (["1", "1", "1"], ["2|11", "7", ""]),
        (["[66, 105]", "[]", "[1]"], ["[2, 11]", "[7]", "[]"]),
    ],
)
def test_the_sample_says_whether_answers_are_lists(tmp_path, label_lists, cells, expected):
    assert answer(tmp_path, recipe_of(label_lists=label_lists, label_separator="|"), cells) == expected


def test_an_empty_sample_is_answered_as_the_training_table_is_written(tmp_path):
    assert answer(tmp_path, recipe_of(label_lists=True), [""] * 3) == ["[2, 11]", "[7]", "[]"]
    assert answer(tmp_path, recipe_of(), [""] * 3) == ["2 11", "7", ""]


@pytest.mark.parametrize(("label_lists", "expected"), [(True, ["[2, 11]", "[7]", "[]"]), (False, ["2 11", "7", ""])])
def test_without_a_sample_answers_are_written_as_the_training_table_is(tmp_path, label_lists, expected):
    recipe = recipe_of(label_lists=label_lists, test_csv="test.csv")
    pd.DataFrame({"id": IDS}).to_csv(tmp_path / "test.csv", index=False)
    submit(recipe, tmp_path, RunDir(tmp_path / "run"), IDS, ROWS, "made up")
    assert read_rows(tmp_path / "run" / "submission.csv")["tags"].tolist() == expected


def test_a_list_is_refused_where_each_row_has_one_label(tmp_path):
    recipe = recipe_of()
    one = replace(recipe.table, task="multiclass")
    recipe = replace(
        recipe, table=one, train=replace(recipe.train, loss="cross_entropy"), rule=replace(recipe.rule, kind="argmax")
    )
    with pytest.raises(DataError, match=r"column tags holds '\[1\]', a list, where"):
        answer(tmp_path, recipe, ["[1]"] * 3)
