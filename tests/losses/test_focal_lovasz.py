"""Focal loss and Lovász hinge together are the sum of both."""

import torch
from label_losses import logits_of, targets_of
from torchvision.ops import sigmoid_focal_loss

from imettk.losses.focal_lovasz import focal_lovasz
from imettk.losses.lovasz import lovasz


def test_focal_lovasz_is_the_sum_of_torchvisions_focal_and_lovasz():
    logits, targets = logits_of(), targets_of()
    focal_sum = sigmoid_focal_loss(logits, targets.float(), alpha=-1, gamma=2).sum(1)
    torch.testing.assert_close(focal_lovasz(logits, targets), focal_sum + lovasz(logits, targets))
