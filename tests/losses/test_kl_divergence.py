"""The divergence of votes equals torch's and scipy's, and its gradient that of cross-entropy."""

import numpy as np
import torch
from label_losses import logits_of
from scipy.stats import entropy
from torch.nn.functional import cross_entropy, kl_div

from imettk.losses.kl_divergence import kl_divergence


def votes(num_samples=6, num_classes=5):
    counts = torch.randint(0, 4, (num_samples, num_classes), generator=torch.Generator().manual_seed(0)).float()
    counts[:, 0] += 1
    return counts / counts.sum(1, keepdim=True)


def test_it_is_scipys_and_torchs():
    logits, shares = logits_of(), votes()
    expected = entropy(shares.double().numpy(), logits.double().softmax(1).numpy(), axis=1)
    assert (shares == 0).any()
    np.testing.assert_allclose(kl_divergence(logits, shares).numpy(), expected, rtol=1e-4)
    by_torch = kl_div(logits.log_softmax(1), shares, reduction="none").sum(1)
    torch.testing.assert_close(kl_divergence(logits, shares), by_torch)


def test_its_gradient_is_that_of_the_cross_entropy_and_shares_themselves_cost_nothing():
    logits, shares = logits_of().requires_grad_(), votes()
    gradients = [
        torch.autograd.grad(loss.sum(), logits)[0]
        for loss in (kl_divergence(logits, shares), cross_entropy(logits, shares, reduction="none"))
    ]
    torch.testing.assert_close(*gradients)
    exact = kl_divergence((shares + 1e-30).log(), shares)
    torch.testing.assert_close(exact, torch.zeros(6), atol=1e-6, rtol=0)
