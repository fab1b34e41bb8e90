"""Settings of units fit together, or are refused in one line."""

import pytest

from imettk.config import RankConfig, Recipe, RuleConfig, TableFormat, TrainConfig
from imettk.errors import ConfigError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"unit_columns": ("a",), "unit_folders": True}, "`table.unit_folders` must be left out beside unit_columns"),
        ({"unit_columns": ("a", "a")}, "`table.unit_columns` must be different columns, got a, a"),
        ({"image_columns": ("a",)}, "`table.image_columns` must be two or more"),
        (
            {"unit_folders": True, "channel_files": ("r", "g"), "image_suffix": "*"},
            "`table.channel_files` must be none with unit_folders",
        ),
        (
            {"task": "multiclass", "train_folders": True, "unit_columns": ("a",)},
            "`table.unit_columns` must be left out with train_folders",
        ),
    ],
)
def test_formats_that_do_not_go_together(fields, message):
    with pytest.raises(ConfigError, match=message):
        TableFormat(**fields)


def test_the_samples_id_column_is_the_single_unit_column():
    assert TableFormat(unit_columns=("study",)).test_id_column == "study"
    assert TableFormat(unit_columns=("patient", "side")).test_id_column == "id"
    assert TableFormat(unit_columns=("study",), sample_id_column="StudyID").test_id_column == "StudyID"
    assert TableFormat(id_column="study", unit_folders=True).test_id_column == "study"


UNITS = {"unit_columns": ("study",)}
NUMBERS = {"task": "regression", "label_columns": ("a", "b")}


@pytest.mark.parametrize(
    ("table", "rule", "message"),
    [
        (TableFormat(), {"pool": "max"}, "`rule.pool` must be auto where no unit has several images, got max"),
        (TableFormat(**UNITS), {"pool": "median"}, "`pool` of RuleConfig must be auto, mean or max"),
        (TableFormat(**UNITS), {"pool_size": 0}, "`pool_size` of RuleConfig must be at least 1"),
        (
            TableFormat(**UNITS, **NUMBERS, answer_columns=("a", "b")),
            {"kind": "value", "pool": "noisy_or"},
            "`rule.pool` noisy_or pools probabilities, and the task predicts numbers",
        ),
        (TableFormat(**UNITS, task="multiclass"), {"kind": "rank"}, "`rule.kind` rank answers single images"),
    ],
)
def test_rules_that_do_not_take_units(table, rule, message):
    loss = {"regression": "mse", "multiclass": "cross_entropy"}.get(table.task, "bce")
    ranking = {"by": "probs"} if rule.get("kind") == "rank" else {}
    with pytest.raises(ConfigError, match=message):
        Recipe(table=table, train=TrainConfig(loss=loss), rule=RuleConfig(**rule), ranking=RankConfig(**ranking))
