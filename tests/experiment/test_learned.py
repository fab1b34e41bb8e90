"""Outputs beside single labels: from the table, and back from a model's header."""

import numpy as np

from imettk.config import Recipe, TableFormat, TrainConfig
from imettk.config.answers import RuleConfig
from imettk.data.sample_table import SampleTable
from imettk.experiment.learned import Learned, with_auxiliary

TABLE = SampleTable(
    np.array(["a", "b"]),
    np.array(["a.png", "b.png"]),
    ("x=1", "x=2"),
    ("x", "x"),
    targets=np.array([[1, 0], [0, 1]], np.uint8),
    auxiliary=np.array([[0, 0, 1], [0, 0, 0]], np.uint8),
    auxiliary_labels=("y=1", "y=2", "y=3"),
    auxiliary_groups=("y", "y", "y"),
)


def test_auxiliary_labels_are_the_last_ones():
    recipe = Recipe(
        table=TableFormat(task="questions", label_columns=("x",), auxiliary_columns=("y",)),
        train=TrainConfig(loss="question_cross_entropy"),
        rule=RuleConfig(kind="argmax_each"),
    )
    learned = Learned.of(recipe, TABLE)
    assert learned == Learned((2, 3), ("y=1", "y=2", "y=3"))
    assert Learned.from_values({"labels": [], **learned.to_values()}) == learned
    soft = TABLE.targets.astype(np.float32)
    assert with_auxiliary(soft, TABLE).tolist() == [[1, 0, 0, 0, 1], [0, 1, 0, 0, 0]]
    assert with_auxiliary(TABLE.targets, TABLE).dtype == np.uint8 and TABLE.take(np.array([1])).auxiliary.sum() == 0


def test_plain_labels_leave_no_trace_in_a_model():
    assert Learned.of(Recipe(), TABLE).parts == () and Learned().to_values() == {} == Learned((), ()).to_values()
    assert Learned.from_values({"labels": ["a"]}) == Learned()
