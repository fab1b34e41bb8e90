"""Binary cross-entropy over hard negatives equals a plain loop."""

import pytest
import torch
from label_losses import by_hand, hard_negative_by_hand, logits_of, targets_of

from imettk.losses.bce import bce
from imettk.losses.hard_negative import hard_negative_bce


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_hard_negative_bce_equals_a_plain_loop(share):
    logits, targets = logits_of(20, 17), targets_of(20, 17)
    loss = hard_negative_bce(logits, targets, share=share)
    torch.testing.assert_close(loss, by_hand(hard_negative_by_hand, logits, targets, share=share))
    if share == 1:
        torch.testing.assert_close(loss, bce(logits, targets))
    soft = torch.rand(20, 17, generator=torch.Generator().manual_seed(4))
    loss = hard_negative_bce(logits, soft, share=share)
    torch.testing.assert_close(loss, by_hand(hard_negative_by_hand, logits, soft, share=share))


def test_hard_negative_bce_moves_only_labels_that_count():
    logits = torch.tensor([[-2.0, 3.0, 1.0, -1.0, 0.5]], requires_grad=True)
    loss = hard_negative_bce(logits, torch.tensor([[1, 0, 0, 0, 0]]), share=0.5)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert (gradient != 0).tolist() == [[True, True, True, False, False]]
