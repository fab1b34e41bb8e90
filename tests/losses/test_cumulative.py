"""The cumulative loss equals cross-entropy of products of probabilities; a confident miss has a gradient."""

import torch
from label_losses import logits_of

from imettk.losses.cumulative import cumulative


def test_it_is_the_cross_entropy_of_being_above_each_grade():
    logits, grades = logits_of(6, 3).double(), torch.tensor([0, 3, 2, 1, 3, 0])
    above = logits.sigmoid().cumprod(1)
    levels = (grades[:, None] > torch.arange(3)).double()
    expected = -(levels * above.log() + (1 - levels) * (1 - above).log()).mean(1)
    torch.testing.assert_close(cumulative(logits, grades), expected.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cumulative(logits, levels), cumulative(logits, grades))


def test_a_sure_miss_costs_its_logit_and_has_a_gradient():
    logits = torch.full((1, 3), 60.0, requires_grad=True)
    loss = cumulative(logits, torch.tensor([0]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.item() > 55 and gradient.isfinite().all() and gradient.sum() > 0.5
