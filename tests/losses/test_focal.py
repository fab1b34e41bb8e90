"""The focal loss equals a plain loop and torchvision's."""

import pytest
import torch
from label_losses import by_hand, focal_by_hand, logits_of, targets_of
from torchvision.ops import sigmoid_focal_loss

from imettk.losses.focal import focal


@pytest.mark.parametrize(("gamma", "alpha"), [(0.0, 0.5), (1.0, 0.25), (2.0, 0.75), (3.5, 0.1)])
def test_focal_equals_a_plain_loop_and_torchvision(gamma, alpha):
    logits, targets = logits_of(seed=2), targets_of(seed=3)
    loss = focal(logits, targets, gamma=gamma, alpha=alpha)
    torch.testing.assert_close(loss, by_hand(focal_by_hand, logits, targets, gamma=gamma, alpha=alpha))
    torch.testing.assert_close(loss, sigmoid_focal_loss(logits, targets.float(), alpha=alpha, gamma=gamma).mean(1))


def test_the_default_focal_is_that_of_torchvision():
    logits, targets = logits_of(), targets_of()
    torch.testing.assert_close(focal(logits, targets), sigmoid_focal_loss(logits, targets.float()).mean(1))


def test_focal_of_soft_targets_is_that_of_torchvision():
    logits, soft = logits_of(), torch.rand(6, 5, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(focal(logits, soft), sigmoid_focal_loss(logits, soft).mean(1))
