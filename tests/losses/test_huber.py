"""Huber's loss equals its formula, with weighted targets too."""

import torch
from label_losses import logits_of

from imettk.losses.huber import huber


def test_it_is_the_weighted_mean_over_targets():
    outputs, targets = logits_of(6, 3).double(), torch.rand(6, 3, generator=torch.Generator().manual_seed(4)).double()
    losses = torch.where((outputs - targets).abs() < 1.0, (outputs - targets) ** 2 / 2, (outputs - targets).abs() - 0.5)
    torch.testing.assert_close(huber(outputs, targets), losses.mean(1).float())
    weighted = (losses * torch.tensor([1.0, 0.0, 3.0])).sum(1) / 4
    torch.testing.assert_close(huber(outputs, targets, weights="1, 0 3"), weighted.float())
