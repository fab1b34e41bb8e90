"""The trainer's loss is the plain loss with the recipe's settings, plus that of a second classifier."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from imettk.config import EmbeddingConfig
from imettk.config.choices import LOSSES, Loss
from imettk.losses.output_loss import make_loss


class Outputs(NamedTuple):
    logits: Tensor
    embeddings: Tensor | None = None
    aux_logits: Tensor | None = None


TARGETS = torch.tensor([0, 0, 1, 1, 2, 2])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_own_parameters_reach_the_loss():
    logits, targets = random(6, 4), (random(6, 4, seed=1) > 0).float()
    for gamma, alpha in ((2.0, 0.25), (3.0, 0.6)):
        losses = make_loss(LOSSES["focal"], params={"gamma": gamma, "alpha": alpha})(Outputs(logits), targets)
        expected = sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma).mean(1)
        torch.testing.assert_close(losses, expected)


def test_logits_of_several_masks_give_the_mean_of_their_losses():
    logits, targets = random(3, 6, 4), TARGETS
    losses = make_loss(LOSSES["cross_entropy"])(Outputs(logits), targets)
    expected = sum(functional.cross_entropy(part, targets, reduction="none") for part in logits) / 3
    torch.testing.assert_close(losses, expected)
    of_mean = functional.cross_entropy(logits.mean(0), targets, reduction="none")
    assert (losses - of_mean > 0.01).all(), "the mean of the logits is something else"


def test_cosface_and_arcface_take_scale_and_margin():
    cosines = random(6, 3).tanh()
    is_target = functional.one_hot(TARGETS).bool()
    plan = EmbeddingConfig(scale=7.0, margin=0.3)
    lowered = torch.where(is_target, cosines - 0.3, cosines)
    expected = functional.cross_entropy(7 * lowered, TARGETS, reduction="none")
    torch.testing.assert_close(make_loss(LOSSES["cosface"], embedding=plan)(Outputs(cosines), TARGETS), expected)
    # No angle is beyond pi - 0.3 here, where ArcFace is the plain formula.
    cosines = cosines.clamp(min=-0.9)
    widened = torch.where(is_target, (cosines.acos() + 0.3).cos(), cosines)
    expected = functional.cross_entropy(7 * widened, TARGETS, reduction="none")
    losses = make_loss(LOSSES["arcface"], embedding=plan)(Outputs(cosines), TARGETS)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)
    half = EmbeddingConfig(scale=7.0, margin=0.3, plain_weight=1.0)
    plain = functional.cross_entropy(7 * cosines, TARGETS, reduction="none")
    losses = make_loss(LOSSES["arcface"], embedding=half)(Outputs(cosines), TARGETS)
    torch.testing.assert_close(losses, (expected + plain) / 2, rtol=1e-5, atol=1e-5)
    # Only angles below a right one are widened.
    easy = EmbeddingConfig(scale=7.0, margin=0.3, easy_margin=True)
    widened = torch.where(is_target & (cosines > 0), (cosines.acos() + 0.3).cos(), cosines)
    expected = functional.cross_entropy(7 * widened, TARGETS, reduction="none")
    losses = make_loss(LOSSES["arcface"], embedding=easy)(Outputs(cosines), TARGETS)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)


def test_arcface_has_margins_by_size_where_rows_are_counted():
    cosines = torch.full((2, 2), 0.5)
    plan = EmbeddingConfig(scale=1.0, margin=0.5, frequent_margin=0.2)
    counted = make_loss(LOSSES["arcface"], embedding=plan, counts=np.array([100, 2]))
    loss = counted(Outputs(cosines), torch.tensor([0, 1]))
    for row_loss, margin in zip(loss.tolist(), (0.2, 0.5), strict=True):
        target_cosine = math.cos(math.pi / 3 + margin)
        assert row_loss == pytest.approx(math.log(math.exp(target_cosine) + math.exp(0.5)) - target_cosine, rel=1e-5)
    alike = make_loss(LOSSES["arcface"], embedding=plan)(Outputs(cosines), torch.tensor([0, 1]))
    assert alike[0] == alike[1] == pytest.approx(loss[1])


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_triplets_take_embeddings_mining_distance_and_margin(distance):
    embeddings = functional.normalize(random(6, 8))
    plan = EmbeddingConfig(mining="batch_all", distance=distance, margin=0.4)
    mean_loss = make_loss(LOSSES["triplet"], embedding=plan)(Outputs(random(6, 0), embeddings), TARGETS).mean()
    known = CosineSimilarity() if distance == "cosine" else LpDistance()
    torch.testing.assert_close(mean_loss, TripletMarginLoss(margin=0.4, distance=known)(embeddings, TARGETS))
    softly = EmbeddingConfig(mining="batch_all", distance=distance, soft_margin=True)
    soft = make_loss(LOSSES["triplet"], embedding=softly)(Outputs(random(6, 0), embeddings), TARGETS).mean()
    distances = 1 - embeddings @ embeddings.T if distance == "cosine" else torch.cdist(embeddings, embeddings)
    triplets = [
        functional.softplus(distances[anchor, positive] - distances[anchor, negative])
        for anchor in range(6)
        for positive in range(6)
        for negative in range(6)
        if anchor != positive and TARGETS[anchor] == TARGETS[positive] != TARGETS[negative]
    ]
    torch.testing.assert_close(soft, torch.stack(triplets).mean(), rtol=1e-4, atol=1e-5)


def test_contrastive_takes_margin_and_distance():
    embeddings = functional.normalize(random(6, 8))
    far = 1 - embeddings @ embeddings.T
    plan = EmbeddingConfig(distance="cosine", margin=0.9)
    same = [far[i, j] for i in range(6) for j in range(6) if i != j and TARGETS[i] == TARGETS[j]]
    others = [(0.9 - far[i, j]).relu() for i in range(6) for j in range(6) if TARGETS[i] != TARGETS[j]]
    violated = [value for value in others if value > 0]
    mean_loss = make_loss(LOSSES["contrastive"], embedding=plan)(Outputs(random(6, 0), embeddings), TARGETS).mean()
    torch.testing.assert_close(mean_loss, torch.stack(same).mean() + torch.stack(violated).mean())


def test_a_second_classifier_counts_beside_losses_of_embeddings_alone():
    cosines, second = random(6, 3).tanh(), random(6, 3, seed=1)
    beside = functional.cross_entropy(second, TARGETS, reduction="none")
    for weight in (0.0, 0.5, 1.0):
        loss = make_loss(LOSSES["cosface"], embedding=EmbeddingConfig(joint_weight=weight))
        both, alone = (loss(Outputs(cosines, None, aux), TARGETS) for aux in (second, None))
        torch.testing.assert_close(both, alone + weight * beside)
    plain = make_loss(LOSSES["cross_entropy"])
    torch.testing.assert_close(plain(Outputs(cosines, None, second), TARGETS), plain(Outputs(cosines), TARGETS))


def test_the_row_says_whether_a_loss_needs_the_whole_batch():
    names = {name for name, row in LOSSES.items() if make_loss(row).whole_batch}
    assert names == {"lovasz", "focal_lovasz", "focal_lovasz_hard", "triplet", "contrastive"}


def test_a_row_from_outside_the_package():
    def distances(embeddings, targets, *, power, scale):
        return scale * embeddings.norm(dim=1) ** power

    row = Loss(
        make=partial(distances, power=2),
        targets=("classes",),
        takes="embeddings",
        whole_batch=True,
        settings=lambda embedding, counts: {"scale": embedding.scale},
    )
    loss = make_loss(row, embedding=EmbeddingConfig(scale=3.0))
    embeddings = random(6, 8)
    torch.testing.assert_close(loss(Outputs(random(6, 0), embeddings), TARGETS), 3 * embeddings.square().sum(1))
    assert loss.whole_batch
