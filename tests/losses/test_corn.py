"""CORN's loss equals a plain loop over the thresholds that each row reaches, and accepts soft targets."""

import math

import torch
from label_losses import log_sigmoid, logits_of

from imettk.losses.corn import corn


def by_hand(logits, grade):
    total = 0.0
    for level, logit in enumerate(logits):
        if grade < level:  # not reached
            break
        total -= log_sigmoid(logit) if grade > level else log_sigmoid(-logit)
    return total / len(logits)


def test_only_questions_that_are_reached_count():
    logits, grades = logits_of(6, 3), torch.tensor([0, 3, 2, 1, 3, 0])
    expected = [by_hand(*pair) for pair in zip(logits.double().tolist(), grades.tolist(), strict=True)]
    torch.testing.assert_close(corn(logits, grades), torch.tensor(expected, dtype=torch.float32))


def test_a_mixture_of_two_grades_costs_the_mixture_of_their_losses():
    logits = logits_of(1, 3)
    levels = torch.tensor([[1.0, 0.25, 0.25]])  # three quarters of grade 1, a quarter of grade 3
    expected = 0.75 * corn(logits, torch.tensor([1])) + 0.25 * corn(logits, torch.tensor([3]))
    torch.testing.assert_close(corn(logits, levels), expected)
    assert math.isfinite(float(expected))
