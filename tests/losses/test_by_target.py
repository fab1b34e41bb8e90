"""Weights of targets in a loss: the weighted mean, and refused weights."""

import pytest
import torch

from imettk.errors import UserError
from imettk.losses.by_target import known_targets, mean_over_targets
from imettk.losses.huber import huber
from imettk.losses.l1 import l1
from imettk.losses.mse import mse
from imettk.losses.scaled_bce import scaled_bce


def test_the_mean_goes_by_the_weights():
    losses = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    assert mean_over_targets(losses, "").tolist() == [2, 6]
    assert mean_over_targets(losses, "3 1").tolist() == [1.5, 5.5]


@pytest.mark.parametrize("weights", ["1", "1 2 3", "1 -1", "0 0", "a b", "nan 1"])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(UserError, match="weights must be 2 numbers"):
        mean_over_targets(torch.zeros(1, 2), weights)


@pytest.mark.parametrize("loss", [mse, l1, huber, scaled_bce])
def test_an_unknown_target_costs_nothing_and_moves_nothing(loss):
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(5, 3, generator=generator).requires_grad_()
    targets = torch.rand(5, 3, generator=generator)
    whole = loss(outputs, targets, weights="1 0 1")  # as if the middle one were not there
    targets[:, 1] = torch.nan
    losses = loss(outputs, targets)
    torch.testing.assert_close(losses * 3 / 2, whole)
    (gradient,) = torch.autograd.grad(losses.sum(), outputs)
    assert gradient[:, 1].tolist() == [0] * 5 and gradient[:, [0, 2]].isfinite().all() and gradient[:, 0].all()
    assert known_targets(lambda predicted, truth: predicted - truth, outputs, targets)[:, 1].tolist() == [0] * 5
