"""Levels of grades: the thresholds that each row is above."""

import torch

from imettk.losses.levels import levels_of


def test_each_grade_is_above_all_lower_ones_and_soft_levels_stay():
    levels = levels_of(torch.tensor([0, 2, 1]), 2)
    assert levels.tolist() == [[0, 0], [1, 1], [1, 0]]
    assert levels_of(levels.double() * 0.5, 2).tolist() == [[0, 0], [0.5, 0.5], [0.5, 0]]
