"""Rows of one image and label become rows of one image and back, compared with pandas' own pivot."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imettk.config import TableFormat
from imettk.data.label_cells import as_table
from imettk.data.long_rows import LongRows, join_rows, training_rows
from imettk.data.submission import AnswerRules, SubmissionForm, read_sample, write_submission
from imettk.errors import ConfigError, DataError

LABELS = ("b", "a", "b_a")
CSV = Path("s.csv")


def shuffled(pattern, seed=0):
    """Return five images in shuffled long rows, and the numbers that they came from."""
    rng = np.random.default_rng(seed)
    rows = [(f"i_{image}.x", label, f"{rng.normal():.6f}") for image in range(5) for label in LABELS]
    frame = pd.DataFrame([rows[place] for place in rng.permutation(len(rows))], columns=["image", "label", "value"])
    if "{" in pattern:
        names = [pattern.format(id=image, label=label) for image, label in frame[["image", "label"]].to_numpy()]
        return pd.DataFrame({"row": names, "value": frame["value"]}), frame
    return frame.rename(columns={"image": "row", "label": pattern}), frame


@pytest.mark.parametrize("pattern", ["{id}_{label}", "{label}_{id}", "x({id}).{label}+", "target name"])
def test_rows_are_gathered_as_pandas_pivots_them_and_spread_again(pattern):
    frame, plain = shuffled(pattern)
    rows = LongRows(pattern, "row", "value", LABELS)
    expected = plain.pivot(index="image", columns="label", values="value").loc[plain["image"].unique(), list(LABELS)]
    wide = rows.gather(frame, CSV)
    assert wide.columns.tolist() == ["row", *LABELS] and wide["row"].tolist() == expected.index.tolist()
    assert wide[list(LABELS)].to_numpy().tolist() == expected.to_numpy().tolist()
    assert rows.images(frame, CSV).tolist() == plain["image"].tolist()
    other = rows.spread(frame.assign(value="0"), CSV, expected.to_numpy(object))
    pd.testing.assert_frame_equal(other, frame, check_dtype=False)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["i__a", "i__b", "i__c"], r"1 id \(i__c\) not of the form \{id\}__\{label\} with one of 2 labels \(a, b\)"),
        (["i__a", "i__b", "j__a"], r"1 row \(j__b\) missing; an image needs rows for all of a, b"),
        (["i__a", "i__b", "i__a"], r"1 row \(i__a\) more than once"),
        (["i__a", "i__b", "__a", "__b"], r"2 ids \(__a, __b\) not of the form"),
    ],
)
def test_rows_that_are_not_one_for_each_label_are_named(names, message):
    frame = pd.DataFrame({"row": names, "value": "0"})
    with pytest.raises(DataError, match=f"^s.csv: {message}"):
        LongRows("{id}__{label}", "row", "value", ("a", "b")).gather(frame, CSV)


def test_labels_in_a_column_of_their_own_are_named():
    rows = LongRows("part", "row", "value", ("a", "b"))
    frame = pd.DataFrame({"row": ["i", "i", "i"], "part": ["a", " b", "C"], "value": "0"})
    with pytest.raises(DataError, match=r"^s.csv: 1 label \(C\) in column part not among 2 labels \(a, b\)"):
        rows.gather(frame, CSV)
    with pytest.raises(DataError, match=r"^s.csv: 1 row \(i b\) missing"):
        rows.gather(frame.head(1), CSV)


def write(folder, text, values, **changes):
    """Write a submission for images t2 and t1 in a format of two targets; return its text."""
    sample = folder / "sample.csv"
    sample.write_text(text)
    form = TableFormat(
        **{"task": "regression", "label_columns": ("b", "a"), "label_column": "target", "sample_id_column": "row"}
        | {"sample_rows": "{id}__{label}"}
        | changes
    )
    read = read_sample(form, sample)
    path, rules = folder / "submission.csv", AnswerRules(numbers=True, shares=False)
    write_submission(path, sample, np.array(["t2", "t1"]), values, form=SubmissionForm.of(form), rules=rules)
    return read, path.read_text()


def test_a_submission_has_the_samples_rows_and_order(tmp_path):
    text = "Usage,row,target\nx,t1__a,0\ny,t2__a,0\nz,t2__b,0\nx,t1__b,0\n"
    read, written = write(tmp_path, text, [["1", "2"], ["3", "4"]], kept_columns=("Usage",))
    assert read["row"].tolist() == ["t1", "t2"]
    assert written == "Usage,row,target\nx,t1__a,4\ny,t2__a,2\nz,t2__b,1\nx,t1__b,3\n"
    text = "row;part;answer\nt2;b;0\nt2;a;0\nt1;b;0\nt1;a;0\n"
    _, written = write(tmp_path, text, [["1", "2"], ["3", "4"]], sample_rows="part", answer_column="answer")
    assert written == "row;part;answer\nt2;b;1\nt2;a;2\nt1;b;3\nt1;a;4\n"


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("row,target\nt1__a,0\nt1__b,0\n", [["1", "2"]] * 2, r"1 id \(t2\) not in the sample"),
        ("row,target\nt1__a,0\nt1__b,0\nt2__a,0\nt2__b,0\n", [["1", "2"], ["3"]], "has 1 answer, but needs 2"),
        (
            "row,target\nt1__a,0\nt1__b,0\nt2__a,0\nt2__b,0\n",
            [["1", "2"], ["3", "x"]],
            "t1 has 'x', which is not a num",
        ),
        ("row,target\nt1__a,0\nt2__a,0\nt2__b,0\n", [["1", "2"]] * 2, r"1 row \(t1__b\) missing"),
        ("row,target,More\nt1__a,0,0\nt1__b,0,0\n", [["1", "2"]] * 2, r"nothing would fill 1 column \(More\)"),
        ("row,value\nt1__a,0\n", [["1", "2"]] * 2, r"has no column target; it has row, value"),
    ],
)
def test_what_does_not_fit_the_sample_is_refused(tmp_path, text, values, message):
    with pytest.raises(DataError, match=message):
        write(tmp_path, text, values)
    assert not (tmp_path / "submission.csv").exists()


def test_columns_in_which_rows_agree_stay_and_others_go_unless_they_must_agree():
    frame, plain = shuffled("part")
    frame = frame.assign(site=[name[:3] for name in plain["image"]], number=[str(row) for row in range(len(frame))])
    rows = LongRows("part", "row", "value", LABELS)
    wide = rows.gather(frame, CSV, agree=["site"])
    assert wide.columns.tolist() == ["row", "site", *LABELS] and wide["site"].tolist() == [n[:3] for n in wide["row"]]
    frame.loc[frame["row"] == "i_3.x", "site"] = ["here", "there", "here"]
    assert "site" not in rows.gather(frame, CSV)
    with pytest.raises(DataError, match=r"^s.csv: 1 image \(i_3.x\) whose rows differ in column site"):
        rows.gather(frame, CSV, agree=["site"])
    with pytest.raises(DataError, match=r"^s.csv: 1 label \(a\) with the name of a column"):
        rows.gather(frame.rename(columns={"site": "a"}), CSV)


@pytest.mark.parametrize("rows", ["{label}/{id}", "part"])
@pytest.mark.parametrize(("task", "labels"), [("regression", [["1", "2"], ["3", "4"]]), ("multilabel", [["a"], []])])
def test_rows_that_pseudo_labels_write_are_those_of_the_training_table(rows, task, labels):
    form = TableFormat(task=task, label_columns=("b", "a"), label_column="value", train_rows=rows)
    frame = as_table(["i", "j"], labels, form)
    long = training_rows(form)
    assert long is not None and frame.columns.tolist() == list(long.columns) and len(frame) == 4
    wide = as_table(["i", "j"], labels, TableFormat(task=task, label_columns=("b", "a")))
    pd.testing.assert_frame_equal(long.gather(frame, CSV), wide, check_dtype=False)


def joined(rows, remarks, *, agree=()):
    frame = pd.DataFrame(rows, columns=["id", "attribute_ids", "site"])
    return join_rows(frame, TableFormat(), CSV, remarks, agree=agree)


def test_rows_of_one_id_are_joined_and_identical_ones_count_once():
    remarks: list[str] = []
    rows = [("i", "a", "x"), ("j", "b", "y"), ("i", "d", "x"), ("j", "b", "y"), ("k", "c", "y"), ("l", "", "y")]
    frame = joined(rows, remarks, agree=["site"])
    expected = {"i": "a d", "j": "b", "k": "c", "l": ""}
    assert dict(zip(frame["id"], frame["attribute_ids"], strict=True)) == expected
    assert frame["site"].tolist() == ["x", "y", "y", "y"]
    assert remarks == ["s.csv: 2 ids (i, j) in several rows, which are joined: 6 rows; 2 rows add no label"]
    assert joined(rows[3:], remarks)["id"].tolist() == ["j", "k", "l"] and len(remarks) == 1
    with pytest.raises(DataError, match=r"1 image \(i\) whose rows differ in column site"):
        joined([("i", "a", "x"), ("i", "d", "z")], remarks, agree=["site"])


def test_rows_of_one_label_are_one_where_all_agree():
    form, remarks = TableFormat(task="multiclass", join_rows=True), list[str]()
    frame = pd.DataFrame([("i", "a b"), ("j", "b"), ("i", "a b ")], columns=["id", "attribute_ids"])
    assert join_rows(frame, form, CSV, remarks)["attribute_ids"].tolist() == ["a b", "b"]
    assert remarks == ["s.csv: 1 id (i) in several rows, which are joined: 3 rows; 1 rows add no label"]
    with pytest.raises(DataError, match=r"1 id \(j\) in several rows with different labels: .* to multilabel"):
        join_rows(pd.concat([frame, frame.assign(id="j")]), form, CSV, remarks)


@pytest.mark.parametrize(
    "changes", [{"task": "votes"}, {"task": "regression"}, {"label_columns": ("a", "b")}, {"train_folders": True}]
)
def test_rows_are_joined_where_an_image_may_have_several_labels(changes):
    with pytest.raises(ConfigError):
        TableFormat(join_rows=True, **changes)
    with pytest.raises(ConfigError, match="`train_rows` of TableFormat must be none without label_columns"):
        TableFormat(train_rows="part")


@pytest.mark.parametrize("pattern", ["{id}", "{label}_x", "{id}_{label}_{id}", "{id}_{name}", "{id_{label}", "{}"])
def test_a_pattern_holds_id_and_label_once(pattern):
    message = r"`sample_rows` of TableFormat must be a pattern such as {id}__{label}, or a column"
    with pytest.raises(ConfigError, match=message):
        TableFormat(sample_rows=pattern, label_columns=("a", "b"))


def test_labels_of_rows_are_named():
    message = r"`sample_rows` of TableFormat must be none without label_columns or answer_columns"
    with pytest.raises(ConfigError, match=message):
        TableFormat(sample_rows="{id}_{label}")
