"""Numbers as targets: reading and writing cells, folds, sampling, errors of rows."""

import numpy as np
import pytest
import torch

from imettk.config import FoldConfig
from imettk.data.folds import make_folds
from imettk.tasks import TASKS
from imettk.tasks.task import NUMBER, grades_of

TASK = TASKS["regression"]
CELLS = [["1.5", "-3"], ["0", "12345.678"], ["1e-3", "7"]]


def test_targets_and_cells_are_inverse():
    targets = TASK.make_targets(CELLS, {}, 2)
    assert targets.dtype == np.float32 and targets.tolist() == np.array(CELLS, np.float32).tolist()
    again = TASK.make_targets(TASK.cells(targets, ("a", "b")), {}, 2)
    assert (again == targets).all()  # nine digits are all that float32 has
    assert TASK.make_targets([], {}, 2).shape == (0, 2)


@pytest.mark.parametrize("cell", ["1", "-1.", ".5", "+2e-3", " 7 "])
def test_what_is_a_number(cell):
    assert NUMBER.fullmatch(cell)


@pytest.mark.parametrize("cell", ["", "nan", "inf", "1,5", "1 2", "0x10", "1_000", "\u0663"])
def test_what_is_none(cell):
    assert not NUMBER.fullmatch(cell)


def test_grades_are_rising_numbers():
    assert grades_of(("0", "1.5", "3")).tolist() == [0, 1.5, 3]
    assert grades_of(("1", "10", "2")) is None and grades_of(("1", "1.0")) is None and grades_of(("1", "b")) is None


def test_answers_are_judged_row_by_row():
    targets = TASK.make_targets(CELLS, {}, 2)
    answers = targets + np.float32([[0, 0], [1, 0], [0, 0]])
    assert TASK.wrong(answers, targets).tolist() == [False, True, False]
    losses = TASK.row_losses(answers, targets)
    assert losses == pytest.approx([0, 1 / targets[:, 0].std() / 2, 0])
    assert not TASK.is_soft(targets) and TASK.soft_answers(targets, 2) is not None
    torch.testing.assert_close(TASK.soften(torch.from_numpy(targets), 2), torch.from_numpy(targets))
    assert TASK.activate(torch.tensor([[-5.0]])).tolist() == [[-5.0]]


def test_folds_hold_as_many_rows_of_each_tenth_and_whole_groups():
    rng = np.random.default_rng(0)
    targets = rng.lognormal(0, 1, (600, 2)).astype(np.float32)
    tenths = np.argsort(np.argsort(targets, axis=0), axis=0) * 10 // 600
    folds = make_folds(targets, FoldConfig(num_folds=5), task=TASK)
    for column in tenths.T:
        counts = np.array([np.bincount(column[folds == fold], minlength=10) for fold in range(5)])
        assert np.abs(counts - 12).max() <= 2
    groups = np.arange(600) // 3
    folds = make_folds(targets, FoldConfig(num_folds=5), task=TASK, groups=groups)
    assert all(len(set(folds[groups == group])) == 1 for group in range(200))
    for column in tenths.T:
        counts = np.array([np.bincount(column[folds == fold], minlength=10) for fold in range(5)])
        assert np.abs(counts - 12).max() <= 4


def test_equal_numbers_lie_in_the_same_tenth_and_rare_ranges_are_drawn_as_often():
    targets = np.float32([[0]] * 8 + [[10]] * 2)
    strata = TASK.strata(targets)
    assert len(np.unique(strata[:8], axis=0)) == 1 and strata.sum(1).tolist() == [1] * 10
    chances = TASK.chances(targets)
    assert chances[:8].sum() == pytest.approx(chances[8:].sum())
