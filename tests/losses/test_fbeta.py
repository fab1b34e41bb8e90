"""Soft F-beta equals scikit-learn's for probabilities of 0 and 1, and a plain loop for others."""

import pytest
import torch
from label_losses import by_hand, decisions_of, f_beta_by_hand, logits_of, targets_of
from sklearn.metrics import fbeta_score

from imettk.losses.fbeta import soft_f_beta


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_soft_f_beta_of_certain_probabilities_is_that_of_sklearn(beta):
    targets, decided = targets_of(30, 7), decisions_of()
    decided[0] = False  # without labels and rightly so: 1 in both
    loss = soft_f_beta(torch.where(decided, 60.0, -60.0), targets, beta=beta)
    for row in [0, *torch.nonzero(targets.any(1))[:, 0].tolist()]:
        score = fbeta_score(targets[row].numpy(), decided[row].numpy(), beta=beta, zero_division=1.0)
        assert 1 - loss[row].item() == pytest.approx(score, abs=1e-6)


def test_soft_f_beta_punishes_each_probability_of_a_row_without_labels():
    logits = torch.tensor([[-8.0, -3.0, 0.0, 2.0, 8.0]], requires_grad=True)
    loss = soft_f_beta(logits, torch.zeros(1, 5))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert (gradient > 1e-6).all()
    total = logits.sigmoid().sum()
    torch.testing.assert_close(loss[0], total / (total + 1))


def test_soft_f_beta_of_soft_targets_equals_a_plain_loop():
    logits, soft = logits_of(), torch.rand(6, 5, generator=torch.Generator().manual_seed(4)).double()
    soft[0] *= 0.1  # together less than one label
    torch.testing.assert_close(soft_f_beta(logits, soft), by_hand(f_beta_by_hand, logits, soft))
