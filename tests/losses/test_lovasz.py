"""The Lovász hinge equals scikit-learn's Jaccard loss for decisions, and a plain loop."""

import numpy as np
import pytest
import torch
from label_losses import by_hand, decisions_of, logits_of, lovasz_by_hand, targets_of
from sklearn.metrics import jaccard_score

from imettk.losses.lovasz import lovasz


def test_lovasz_of_decisions_is_the_jaccard_loss_of_sklearn():
    targets, wrong = targets_of(30, 7), decisions_of()
    present = targets.bool()
    # Errors of 1 where wrong, else 0: there the extension meets the set function it extends.
    logits = torch.where(present, 1.0, -1.0).masked_fill(wrong, 0.0)
    scores = [
        jaccard_score(truth[:, column].numpy(), (truth ^ wrong)[:, column].numpy(), zero_division=1.0)
        for column in range(7)
        for truth in (present, ~present)
    ]
    assert lovasz(logits, targets).mean().item() == pytest.approx(1 - np.mean(scores), abs=1e-6)


def test_lovasz_of_right_and_confident_logits_is_0_and_worse_order_costs_more():
    targets = targets_of(20, 8)
    right = (targets.float() * 2 - 1) * 10
    assert not lovasz(right, targets).any()
    labels = torch.tensor([[1.0], [1.0], [0.0], [0.0]])
    costs = [
        lovasz(torch.tensor(order)[:, None] / 4, labels).mean().item()
        for order in ([4.0, 3.0, 2.0, 1.0], [4.0, 2.0, 3.0, 1.0], [2.0, 3.0, 1.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    ]
    assert costs == sorted(costs) and len(set(costs)) == 4


def test_lovasz_takes_soft_targets_above_half_as_present():
    logits = logits_of()
    soft = torch.rand(6, 5, generator=torch.Generator().manual_seed(4))
    soft[2, 3] = 0.5
    torch.testing.assert_close(lovasz(logits, soft), by_hand(lovasz_by_hand, logits, soft))
    torch.testing.assert_close(lovasz(logits, soft), lovasz(logits, (soft > 0.5).to(torch.uint8)), rtol=0, atol=0)
