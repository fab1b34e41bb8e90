"""A format whose fields contradict each other, or the task, is refused in one line that names the field."""

import pytest

from imettk.config import ExtraTable, TableFormat
from imettk.errors import ConfigError
from imettk.tasks import TASKS

CLASSES = {"task": "multiclass", "label_column": "label"}
QUESTIONS = {"task": "questions", "label_columns": ("colour", "shape")}
VOTES = {"task": "votes", "label_columns": ("a", "b")}


@pytest.mark.parametrize("task", TASKS)
def test_a_plain_format_passes_for_every_task(task):
    assert TableFormat(task=task, label_columns=("a", "b") if task in ("questions", "votes") else ()).task == task


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "segmentation"}, "`task` of TableFormat must be one of multilabel, multiclass"),
        ({"group_column": "a", "group_pattern": "(b)"}, "`group_pattern` of TableFormat must be none beside group_col"),
        ({"group_pattern": "no group"}, "`group_pattern` of TableFormat must be a regular expression with a group"),
        ({"group_pattern": "("}, "`group_pattern` of TableFormat must be a regular expression with a group"),
        ({"channel_files": ("red", "green")}, "`image_suffix` of TableFormat must be with a * if `channel_files` are"),
        ({"image_suffix": "_*.png"}, "`image_suffix` of TableFormat must be with a * if"),
        ({"extra": (ExtraTable(csv="a", images="b", image_suffix="*"),)}, "`image_suffix` of TableFormat must be with"),
        ({"pixel_shape": (28,)}, "`pixel_shape` of TableFormat must be two numbers above 0"),
        ({"pixel_shape": (28, 0)}, "`pixel_shape` of TableFormat must be two numbers above 0"),
        ({"label_pattern": "(a)"}, "`label_pattern` of TableFormat must be none unless rows have a single label"),
        ({**CLASSES, "label_pattern": "a"}, "`label_pattern` of TableFormat must be a regular expression with"),
        ({"unknown_label": "new"}, "`unknown_label` of TableFormat must be none unless rows have a single label"),
        ({"merged_csv": "same.csv"}, "`merged_csv` of TableFormat must be none unless rows have a single label"),
        ({"train_folders": True}, "`train_folders` of TableFormat must be false unless rows have a single label"),
        ({**CLASSES, "train_files": True}, "`train_files` of TableFormat must be false without `label_pattern`"),
        (
            {**CLASSES, "train_files": True, "train_folders": True, "label_pattern": "(a)"},
            "`train_files` of TableFormat must be false beside train_folders",
        ),
        ({"only_group": "culture"}, "`only_group` of TableFormat must be none without labels_csv"),
        ({**CLASSES, "label_lists": True}, "`label_lists` of TableFormat must be false if rows have a single label"),
        ({**QUESTIONS, "labels_csv": "a.csv"}, "`labels_csv` of TableFormat must be left out for numbers, votes and"),
        ({"task": "regression", "label_lists": True}, "`label_lists` of TableFormat must be left out for numbers"),
        ({"label_columns": ("a", "a")}, "`label_columns` of TableFormat must be different columns"),
        (
            {"label_columns": ("a",), "only_group": "b", "labels_csv": "c"},
            "`label_columns` of TableFormat must be empty beside only_group",
        ),
        ({"label_columns": ("a",), "label_lists": True}, "`label_columns` of TableFormat must be empty if folders"),
        ({"task": "questions"}, "`label_columns` of TableFormat must be given: a column a question"),
        ({**VOTES, "label_columns": ("a",)}, "`label_columns` of TableFormat must be two or more"),
        ({**QUESTIONS, "label_column": "shape"}, "`label_column` of TableFormat must be none of label_columns"),
        ({"auxiliary_columns": ("a",)}, "`auxiliary_columns` of TableFormat must be empty unless the task is numbers"),
        ({**QUESTIONS, "auxiliary_columns": ("shape",)}, "`auxiliary_columns` of TableFormat must be different col"),
        ({"sample_rows": "{id"}, "`sample_rows` of TableFormat must be a pattern such as {id}__{label}, or a column"),
        ({"train_rows": "{id}_{label}"}, "`train_rows` of TableFormat must be none without label_columns"),
        ({"sample_rows": "label"}, "`sample_rows` of TableFormat must be none without label_columns or answer_columns"),
        ({"task": "regression", "join_rows": True}, "`join_rows` of TableFormat must be false if rows hold numbers"),
        ({"answer_columns": ("a",), "answer_column": "b"}, "`answer_column` of TableFormat must be none beside answer"),
        ({"answer_columns": ("a", "a")}, "`answer_columns` of TableFormat must be different columns"),
        (
            {**VOTES, "answer_columns": ("a",)},
            "`answer_columns` of TableFormat must be the columns of votes, each once",
        ),
    ],
)
def test_fields_that_do_not_go_together_are_one_line(fields, message):
    with pytest.raises(ConfigError) as caught:
        TableFormat(**fields)
    assert message in str(caught.value) and "\n" not in str(caught.value)
