"""CosFace equals pytorch-metric-learning."""

import pytest
import torch
from class_centres import SHAPES, equal_with_gradients, made
from pytorch_metric_learning.losses import CosFaceLoss
from torch.nn.functional import normalize

from imettk.losses.cosface import cosface


@pytest.mark.parametrize(("num_samples", "num_classes"), SHAPES)
@pytest.mark.parametrize("margin", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_cosface_is_that_of_pytorch_metric_learning(num_samples, num_classes, margin, seed):
    embeddings, centres, targets = made(num_samples, num_classes, seed=seed)
    theirs = CosFaceLoss(num_classes, 3, margin=margin, scale=30)
    theirs.W.data = centres.T.clone()
    embeddings.requires_grad_()
    ours = cosface(normalize(embeddings) @ centres.T, targets, scale=30, margin=margin)
    assert ours.shape == (num_samples,) and ours.dtype == torch.float32
    equal_with_gradients(ours.mean(), theirs(embeddings, targets), embeddings)
