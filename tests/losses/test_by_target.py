"""Weights of targets in a loss: a mean by them, and what is refused."""

import pytest
import torch

from imettk.errors import UserError
from imettk.losses.by_target import mean_over_targets


def test_the_mean_goes_by_the_weights():
    losses = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    assert mean_over_targets(losses, "").tolist() == [2, 6]
    assert mean_over_targets(losses, "3 1").tolist() == [1.5, 5.5]


@pytest.mark.parametrize("weights", ["1", "1 2 3", "1 -1", "0 0", "a b", "nan 1"])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(UserError, match="weights must be 2 numbers"):
        mean_over_targets(torch.zeros(1, 2), weights)
