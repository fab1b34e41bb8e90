"""Triplet and contrastive losses in edge cases: no pair, copies, collapse, half precision, another order."""

import itertools
import math

import pytest
import torch
from identity_pairs import DISTANCES, MININGS, made

from imettk.config.choices import LOSSES
from imettk.losses.contrastive import contrastive
from imettk.losses.triplet import triplet


def losses_of_all(embeddings, targets, *, margin=0.3):
    for distance in DISTANCES:
        for mining in MININGS:
            for triplet_margin in (margin, None):
                yield triplet(embeddings, targets, mining=mining, distance=distance, margin=triplet_margin)
        yield contrastive(embeddings, targets, margin=margin, distance=distance)


@pytest.mark.parametrize("targets", [[0], [0] * 6, list(range(6))], ids=["one sample", "one identity", "all different"])
def test_batches_without_triplets_are_0_with_gradients(targets):
    targets = torch.tensor(targets)
    embeddings = made(len(targets))[0].requires_grad_()
    for distance in DISTANCES:
        for mining, margin in itertools.product(MININGS, (0.3, None)):
            shares = triplet(embeddings, targets, mining=mining, distance=distance, margin=margin)
            (gradient,) = torch.autograd.grad(shares.mean(), embeddings)
            assert shares.shape == targets.shape and not shares.any() and not gradient.any()
    for distance in DISTANCES:  # pairs there are, but for a single sample
        shares = contrastive(embeddings, targets, margin=9.0, distance=distance)
        (gradient,) = torch.autograd.grad(shares.mean(), embeddings)
        assert gradient.isfinite().all() and bool(shares.any()) == (len(targets) > 1)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_collapsed_embeddings_cost_the_margin(value):
    embeddings = torch.full((8, 5), value, requires_grad=True)
    targets = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    for distance, mining in itertools.product(DISTANCES, MININGS):
        hard = triplet(embeddings, targets, mining=mining, distance=distance, margin=0.3)
        soft = triplet(embeddings, targets, mining=mining, distance=distance, margin=None)
        torch.testing.assert_close(hard, torch.full((8,), 0.3))
        torch.testing.assert_close(soft, torch.full((8,), math.log(2)))
        (gradient,) = torch.autograd.grad((hard + soft).sum() * 65536, embeddings)
        assert gradient.isfinite().all()
    for distance in DISTANCES:
        loss = contrastive(embeddings, targets, margin=0.3, distance=distance).mean()
        (gradient,) = torch.autograd.grad(loss * 65536, embeddings)
        # Euclidean: 0 to the positives. With cosines, and embeddings of 0, these are 1 away from everything.
        expected = 1.0 if distance == "cosine" and value == 0 else 0.3
        assert loss.item() == pytest.approx(expected, abs=1e-6) and gradient.isfinite().all()


def test_copies_are_at_0_and_have_a_finite_gradient():
    embeddings, targets = made(12, 3, size=64)
    embeddings = torch.cat([embeddings, embeddings[:6]]).requires_grad_()
    targets = torch.cat([targets, targets[:3], (targets[3:6] + 1) % 3])  # of the same identity, and of another
    for shares in losses_of_all(embeddings, targets):
        (gradient,) = torch.autograd.grad(shares.sum() * 65536, embeddings, retain_graph=True)
        assert shares.isfinite().all() and (shares >= -1e-6).all() and gradient.isfinite().all()
    pair = torch.cat([embeddings[:1], embeddings[:1]])
    assert not contrastive(pair, torch.tensor([0, 0]), distance="euclidean").any()
    assert contrastive(pair, torch.tensor([0, 1]), margin=0.7, distance="euclidean").tolist() == pytest.approx(
        [0.7] * 2
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_also_under_autocast(dtype):
    embeddings, targets = made()
    embeddings = embeddings.to(dtype)
    torch.manual_seed(0)
    expected = list(losses_of_all(embeddings.float(), targets))
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            shares = list(losses_of_all(embeddings, targets))
        for share, other in zip(shares, expected, strict=True):
            assert share.dtype == torch.float32
            torch.testing.assert_close(share, other, rtol=0, atol=0)


def test_shares_follow_their_samples():
    embeddings, targets = made()
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    for distance in DISTANCES:
        for mining in ("batch_hard", "batch_all", "semi_hard"):
            options = dict(mining=mining, distance=distance, margin=0.3)
            whole = triplet(embeddings, targets, **options)
            torch.testing.assert_close(triplet(embeddings[order], targets[order], **options), whole[order])
        whole = contrastive(embeddings, targets, distance=distance)
        torch.testing.assert_close(contrastive(embeddings[order], targets[order], distance=distance), whole[order])


def test_both_say_that_they_need_the_whole_batch_and_nan_shows():
    assert LOSSES["triplet"].whole_batch and LOSSES["contrastive"].whole_batch
    embeddings, targets = made()
    embeddings[3, 2] = torch.nan
    for shares in losses_of_all(embeddings, targets):
        assert shares.isnan().all()  # a step must see it, to be skipped, whatever triplets are chosen
