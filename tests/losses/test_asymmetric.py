"""The asymmetric loss equals a plain loop and timm's, and stays finite."""

import math

import pytest
import torch
from label_losses import asymmetric_by_hand, by_hand, logits_of, targets_of
from timm.loss import AsymmetricLossMultiLabel

from imettk.losses.asymmetric import asymmetric


@pytest.mark.parametrize(("gamma_positive", "gamma_negative"), [(1.0, 4.0), (0.0, 4.0), (0.0, 0.0), (2.5, 1.0)])
@pytest.mark.parametrize("clip", [0.0, 0.05, 0.3])
def test_asymmetric_equals_a_plain_loop_and_timm(gamma_positive, gamma_negative, clip):
    options = dict(gamma_positive=gamma_positive, gamma_negative=gamma_negative, clip=clip)
    logits, targets = logits_of().requires_grad_(), targets_of()
    loss = asymmetric(logits, targets, **options)
    torch.testing.assert_close(loss, by_hand(asymmetric_by_hand, logits, targets, **options))
    timm = AsymmetricLossMultiLabel(gamma_negative, gamma_positive, clip)
    soft = torch.rand(6, 5, generator=torch.Generator().manual_seed(4))
    for wanted in (targets, soft):
        # One sample at a time: over a single one timm's sum and its mean over the batch, by version, are the same.
        by_row = [timm(row[None], labels[None]) / 5 for row, labels in zip(logits, wanted, strict=True)]
        ours, theirs = asymmetric(logits, wanted, **options), torch.stack(by_row)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        gradients = [torch.autograd.grad(losses.sum(), logits)[0] for losses in (ours, theirs)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_the_default_asymmetric_loss_is_that_of_timm():
    logits, targets = logits_of(), targets_of()
    timm = torch.stack(
        [AsymmetricLossMultiLabel()(*row) for row in zip(logits.split(1), targets.split(1), strict=True)]
    )
    torch.testing.assert_close(asymmetric(logits, targets), timm / 5)


@pytest.mark.parametrize(("size", "cost", "slope"), [(60.0, 60.0, 1.0), (1000.0, -math.log(1e-30), 0.0)])
def test_asymmetric_without_clip_stays_finite(size, cost, slope):
    logits = torch.tensor([[size]], requires_grad=True)
    loss = asymmetric(logits, torch.zeros(1, 1), clip=0.0)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.item() == pytest.approx(cost, rel=1e-5) and gradient.item() == pytest.approx(slope, rel=1e-5)
