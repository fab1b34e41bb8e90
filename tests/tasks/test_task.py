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


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_a_power_is_a_softmaxs_temperature(power):
    """It holds for a softmax, for one of each question, and for a sigmoid of each output."""
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 5)) * 3)
    groups = ("a", "a", "b", "b", "b")
    parts = [logits[:, :2], logits[:, 2:]]
    expected = {
        "multiclass": (logits.softmax(1), (power * logits).softmax(1)),
        "questions": [torch.cat([(k * part).softmax(1) for part in parts], 1) for k in (1, power)],
        "multilabel": (logits.sigmoid(), (power * logits).sigmoid()),
        "ordinal": (logits.sigmoid(), (power * logits).sigmoid()),
    }
    for name, (plain, sharpened) in expected.items():
        ours = TASKS[name].sharpen(plain.numpy().astype(np.float32), power, groups)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, sharpened.numpy(), rtol=2e-5, atol=1e-7, err_msg=name)
