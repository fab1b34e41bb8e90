"""The task of several questions a row."""

import numpy as np
import pytest
import torch

from imettk.tasks import TASKS
from imettk.tasks.questions import class_of, classes_among, label_of

TASK = TASKS["questions"]
TARGETS = np.array([[1, 0, 0, 1, 0], [1, 0, 0, 0, 1], [0, 0, 1, 0, 1], [1, 0, 0, 0, 1]], np.uint8)
GROUPS = ("a", "a", "a", "b", "b")


def test_labels_are_named_by_column_and_class_whatever_these_hold():
    assert label_of("a=b", " c=d ") == "a=b=c=d" and class_of("a=b", "a=b=c=d") == "c=d"
    assert classes_among(["a=1", "a=2", "ab=3"], "a") == ["1", "2"]


def test_parts_are_the_labels_of_each_column():
    assert TASK.parts(GROUPS) == (3, 2) and TASK.parts(()) == () and TASK.parts(("a",)) == (1,)
    assert TASKS["multilabel"].parts(GROUPS) == ()


def test_rows_are_drawn_by_the_mean_of_how_rare_their_classes_are():
    expected = [(1 / 3 + 1) / 2, (1 / 3 + 1 / 3) / 2, (1 + 1 / 3) / 2, (1 / 3 + 1 / 3) / 2]
    assert TASK.chances(TARGETS) == pytest.approx(np.array(expected))


def test_a_rows_loss_is_the_sum_over_questions():
    probs = np.array([[0.5, 0.3, 0.2, 0.25, 0.75], [0.1, 0.9, 0, 1, 0]], np.float32)
    losses = TASK.row_losses(probs, TARGETS[:2])
    assert losses == pytest.approx([-np.log(0.5) - np.log(0.25), -np.log(0.1) - np.log(1e-7)])
    assert TASK.activate(torch.tensor([0.0])).item() == 1


def test_targets_can_be_mixed_and_cells_name_every_question():
    assert TASK.soften(torch.from_numpy(TARGETS), 5).dtype == torch.float32 and not TASK.smooths
    assert TASK.cells(TARGETS[:1], ["a=x", "a=y", "a=z", "b=0", "b=1"]) == [["a=x", "b=0"]]
    assert TASK.wrong(TARGETS[:2].astype(bool), TARGETS[1:3]).tolist() == [True, True]
