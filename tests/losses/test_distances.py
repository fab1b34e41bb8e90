"""Distances of a batch equal those of pytorch-metric-learning and of a plain loop."""

import pytest
import torch
from identity_pairs import DISTANCES, distances_by_hand, library_distance, made

from imettk.losses.distances import distances_between


@pytest.mark.parametrize("num_samples", [1, 2, 16])
@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_equal_a_plain_loop_and_a_known_library(num_samples, distance):
    embeddings, _ = made(num_samples)
    ours = distances_between(embeddings, distance)
    assert ours.shape == (num_samples, num_samples) and ours.dtype == torch.float32
    torch.testing.assert_close(ours, torch.tensor(distances_by_hand(embeddings, distance)), rtol=1e-5, atol=1e-6)
    theirs = library_distance(distance)(embeddings)
    theirs = 1 - theirs if distance == "cosine" else theirs  # its cosine distance is a similarity
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_near_embeddings_keep_their_distance_under_autocast(dtype):
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 2**-7]]).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert distances_between(embeddings, "euclidean")[0, 1].item() == pytest.approx(2**-7, rel=1e-3)


def test_the_gradient_is_0_between_copies_and_finite_elsewhere():
    embeddings = torch.tensor([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    distances = distances_between(embeddings, "euclidean")
    (between_copies,) = torch.autograd.grad(distances[0, 1], embeddings, retain_graph=True)
    (to_the_origin,) = torch.autograd.grad(distances[0, 2], embeddings)
    assert not between_copies.any()
    torch.testing.assert_close(to_the_origin, torch.tensor([[0.6, 0.8], [0.0, 0.0], [-0.6, -0.8]]))
