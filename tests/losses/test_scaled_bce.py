"""Cross-entropy of scaled numbers equals its formula, with weighted targets too."""

import torch
from label_losses import logits_of

from imettk.losses.scaled_bce import scaled_bce


def test_it_is_the_weighted_mean_over_targets():
    outputs, targets = logits_of(6, 3).double(), torch.rand(6, 3, generator=torch.Generator().manual_seed(4)).double()
    losses = -(targets * outputs.sigmoid().log() + (1 - targets) * (-outputs).sigmoid().log())
    torch.testing.assert_close(scaled_bce(outputs, targets), losses.mean(1).float())
    weighted = (losses * torch.tensor([1.0, 0.0, 3.0])).sum(1) / 4
    torch.testing.assert_close(scaled_bce(outputs, targets, weights="1, 0 3"), weighted.float())
