"""Properties that all tasks with labels share."""

import numpy as np
import pytest
import torch

from imettk.tasks import TASKS

CELLS = [["a"], ["c"], ["a"], ["b"], ["c"]]
COLUMN = {"a": 0, "b": 1, "c": 2}
NAMES = ("a", "b", "c")
OF_LABELS = {name: task for name, task in TASKS.items() if not task.numbered}


@pytest.mark.parametrize("task", OF_LABELS.values(), ids=OF_LABELS)
def test_targets_and_cells_are_inverse(task):
    targets = task.make_targets(CELLS, COLUMN, 3)
    assert len(targets) == 5 and task.cells(targets, NAMES) == CELLS
    matrix = task.label_matrix(targets, 3)
    assert matrix.tolist() == [[name in cell for name in NAMES] for cell in CELLS]
    assert task.label_counts(targets, 3).tolist() == [2, 1, 2]
    assert task.learnable(targets).all()


@pytest.mark.parametrize("task", OF_LABELS.values(), ids=OF_LABELS)
def test_answers_are_judged_row_by_row(task):
    targets = task.make_targets(CELLS, COLUMN, 3)
    answers = task.make_targets([["a"], ["b"], ["a"], ["b"], ["a"]], COLUMN, 3)
    assert task.wrong(answers, targets).tolist() == [False, True, False, False, True]
    soft = task.soft_answers(targets, 3)
    assert soft.dtype == np.float32 and task.is_soft(soft) and not task.is_soft(targets)
    assert task.soft_answers(soft, 3) is not None and (task.soft_answers(soft, 3) == soft).all()
    torch.testing.assert_close(task.soften(torch.from_numpy(targets), 3), torch.from_numpy(soft))
    losses = task.row_losses(np.clip(soft, 0.1, 0.9), targets)
    assert losses.shape == (5,) and (losses < task.row_losses(np.clip(1 - soft, 0.1, 0.9), targets)).all()


@pytest.mark.parametrize("task", OF_LABELS.values(), ids=OF_LABELS)
def test_rows_agree_with_themselves_and_not_with_others(task):
    targets = task.make_targets(CELLS, COLUMN, 3)
    alike = task.agreement(targets[None], targets[None])[0]
    assert (alike == [[cell == other for other in CELLS] for cell in CELLS]).all()


@pytest.mark.parametrize("name", ["multiclass", "multilabel", "ordinal"])
def test_smoothing_towards_even_shares_is_even_smoothing(name):
    task, soft = TASKS[name], torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    even = torch.full((3,), 1 / 3 if name == "multiclass" else 0.5)
    torch.testing.assert_close(task.smooth_towards(soft, 0.3, even), task.smooth(soft, 0.3))
    prior = torch.tensor([0.7, 0.2, 0.1])
    torch.testing.assert_close(task.smooth_towards(soft, 0.3, prior)[0], torch.tensor([0.91, 0.06, 0.03]))
