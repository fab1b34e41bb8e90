"""Cross-entropy equals a plain loop and torch's."""

import math

import torch
from label_losses import by_hand, logits_of
from torch.nn import functional

from imettk.losses.cross_entropy import cross_entropy


def cross_entropy_by_hand(logits, targets):
    return [
        math.log(sum(math.exp(logit) for logit in row)) - row[target]
        for row, target in zip(logits, targets, strict=True)
    ]


def test_cross_entropy_equals_a_plain_loop_and_torch():
    logits, targets = logits_of(), torch.tensor([0, 4, 2, 2, 1, 3])
    loss = cross_entropy(logits, targets)
    torch.testing.assert_close(loss, by_hand(cross_entropy_by_hand, logits, targets))
    torch.testing.assert_close(loss.mean(), functional.cross_entropy(logits, targets))
