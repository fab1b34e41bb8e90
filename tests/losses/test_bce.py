"""Binary cross-entropy equals its formula, also for soft targets."""

import torch
from label_losses import logits_of

from imettk.losses.bce import bce


def test_bce_equals_torch_and_takes_soft_targets():
    logits, soft = logits_of(), torch.rand(6, 5, generator=torch.Generator().manual_seed(4))
    probs = logits.double().sigmoid()
    expected = -(soft * probs.log() + (1 - soft) * (1 - probs).log()).mean(1)
    torch.testing.assert_close(bce(logits, soft), expected.float())
