"""Embedding heads: cosines against numpy, and partly loaded weights."""

import numpy as np
import pytest
import torch
from embedding_networks import network

from imettk.models.embedding import EmbeddingHead

MAPS = torch.rand(6, 5, 4, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("centres", [1, 3])
@pytest.mark.parametrize("hidden", [None, 6])
def test_logits_are_cosines_to_the_nearest_centre_of_each_class(centres, hidden):
    torch.manual_seed(1)
    head = EmbeddingHead([5], 4, embedding_size=8, centres=centres, hidden=hidden, dropout=0.5).eval()
    outputs = head([MAPS])
    embeddings = outputs.embeddings.detach().double().numpy()
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    weights = head.centres.detach().double().numpy()
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    cosines = embeddings @ weights.T
    expected = np.stack([cosines[:, label * centres : (label + 1) * centres].max(1) for label in range(4)], 1)
    np.testing.assert_allclose(outputs.logits.detach().numpy(), expected, atol=1e-5)
    assert outputs.aux_logits is None


@pytest.mark.parametrize("std", [None, 1.0, 0.01])
def test_centres_start_as_long_as_they_should(std):
    torch.manual_seed(2)
    centres = EmbeddingHead([5], 300, embedding_size=64, centre_std=std).centres.detach().double().numpy()
    expected = (2 / (300 + 64)) ** 0.5 if std is None else std  # Xavier's: both widths, Glorot and Bengio 2010, eq. 16
    assert centres.std() == pytest.approx(expected, rel=0.02) and abs(centres.mean()) < 0.02 * expected


def test_embeddings_are_deterministic_at_inference_and_not_in_training():
    model, images = network(dropout=0.5, joint_dropout=0.5), torch.randint(0, 255, (4, 32, 32, 1), dtype=torch.uint8)
    first, second = model.train()(images), model(images)
    assert not torch.equal(first.embeddings, second.embeddings)
    model.eval()
    first, second = model(images), model(images)
    assert torch.equal(first.embeddings, second.embeddings) and torch.equal(first.aux_logits, second.aux_logits)
    assert first.aux_logits.shape == first.logits.shape == (4, 7)


def test_without_centres_there_are_no_logits():
    outputs = network(centres=0)(torch.zeros(2, 32, 32, 1))
    assert outputs.logits.shape == (2, 0) and outputs.embeddings.shape == (2, 8)


def test_embeddings_and_cosines_are_float32_under_autocast():
    images = torch.randint(0, 255, (4, 32, 32, 1), dtype=torch.uint8)
    model = network(joint_dropout=0.0).eval()
    exact = model(images)
    with torch.autocast("cpu", torch.bfloat16):
        near = model(images)
    assert near.embeddings.dtype == near.logits.dtype == torch.float32
    assert near.embeddings.norm(dim=1).sub(1).abs().max() < 1e-5
    assert 0 < (near.logits - exact.logits).abs().max() < 0.05
