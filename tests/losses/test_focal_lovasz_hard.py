"""The winner's loss of Human Protein Atlas 2018 is the sum of its three parts."""

import torch
from label_losses import by_hand, hard_negative_by_hand, logits_of, lovasz_by_hand, targets_of
from torchvision.ops import sigmoid_focal_loss

from imettk.losses.focal_lovasz_hard import focal_lovasz_hard


def test_it_is_the_sum_of_torchvisions_focal_and_two_plain_loops():
    logits, targets = logits_of(20, 17), targets_of(20, 17)
    expected = sigmoid_focal_loss(logits, targets.float(), alpha=-1, gamma=2).sum(1)
    for part in (lovasz_by_hand, hard_negative_by_hand):
        expected = expected + by_hand(part, logits, targets)
    torch.testing.assert_close(focal_lovasz_hard(logits, targets), expected)
