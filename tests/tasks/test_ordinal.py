"""Grades as a chain of thresholds: probabilities, levels, and grades as numbers."""

import numpy as np
import pytest
import torch

from imettk.tasks import TASKS

TASK = TASKS["ordinal"]


def test_probabilities_of_being_above_fall_and_those_of_grades_sum_to_1():
    logits = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)) * 3
    above = TASK.activate(logits).numpy()
    assert (np.diff(above, axis=1) <= 0).all() and TASK.num_outputs(4) == 3
    by_grade = TASK.label_probs(above)
    conditional = 1 / (1 + np.exp(-logits.numpy().astype(np.float64)))
    for row, (a, b, c) in zip(by_grade, conditional, strict=True):  # of the tree of answers
        assert row == pytest.approx([1 - a, a * (1 - b), a * b * (1 - c), a * b * c], abs=1e-6)
    offset, weights = TASK.grade_weights(np.array([1.0, 2, 4, 7]))
    assert offset + above @ weights == pytest.approx(by_grade @ np.array([1, 2, 4, 7]), abs=1e-5)


def test_a_grade_is_above_all_that_are_lower():
    targets = np.array([0, 3, 1])
    expected = [[0, 0, 0], [1, 1, 1], [1, 0, 0]]
    assert TASK.soft_answers(targets, 3).tolist() == expected
    soft = TASK.soften(torch.from_numpy(targets), 3)
    assert soft.tolist() == expected and TASK.soften(soft, 3) is not None
    assert TASK.smooth(soft, 0.2)[2].tolist() == pytest.approx([0.9, 0.1, 0.1])


def test_grades_rise_by_their_numbers():
    assert TASK.order({"10", "2", "0", "1.5"}) == ["0", "1.5", "2", "10"] and TASK.order({"b", "10", "2"}) == [
        "10",
        "2",
        "b",
    ]
    assert TASKS["multiclass"].order({"10", "2", "0"}) == ["0", "10", "2"]  # as trainings have begun


def test_a_sure_wrong_answer_costs_most():
    probs = np.float32([[0.9, 0.8, 0.7], [0.1, 0.1, 0.0]])
    assert TASK.row_losses(probs, np.array([3, 3]))[1] > TASK.row_losses(probs, np.array([3, 3]))[0]
    assert TASK.row_losses(probs, np.array([0, 0])) == pytest.approx(-np.log([0.1, 0.9]), rel=1e-5)
