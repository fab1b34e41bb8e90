"""Triplet losses equal pytorch-metric-learning and plain loops."""

import itertools
import math

import pytest
import torch
from identity_pairs import DISTANCES, MININGS, SIZES, distances_by_hand, equal_with_gradients, library_distance, made
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer

from imettk.losses.triplet import triplet


def hinge(gap, margin):
    return math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin)


def triplet_by_hand(embeddings, targets, *, mining, distance, margin, violated_only=False):
    """Return the anchors' shares and the number of triplets in the mean."""
    far, labels = distances_by_hand(embeddings, distance), targets.tolist()
    sums, counted = [0.0] * len(labels), 0
    for anchor, label in enumerate(labels):
        row = far[anchor]
        positives = [row[i] for i in range(len(labels)) if labels[i] == label and i != anchor]
        negatives = [row[i] for i in range(len(labels)) if labels[i] != label]
        if not positives or not negatives:
            continue
        if mining == "batch_hard":
            pairs = [(max(positives), min(negatives))]
        elif mining == "batch_all":
            pairs = list(itertools.product(positives, negatives))
        else:
            pairs = []
            for positive in positives:
                behind = [negative for negative in negatives if negative > positive]
                pairs.append((positive, min(behind) if behind else max(negatives)))
        losses = [hinge(positive - negative, margin) for positive, negative in pairs]
        sums[anchor] = sum(losses)
        counted += sum(loss > 0 for loss in losses) if violated_only or mining == "batch_all" else len(losses)
    return torch.tensor([value * len(labels) / max(1, counted) for value in sums]), counted


@pytest.mark.parametrize(("num_samples", "num_identities"), SIZES)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("mining", ["batch_hard", "batch_all", "semi_hard"])
@pytest.mark.parametrize("margin", [0.3, 2.0, None])
@pytest.mark.parametrize("violated_only", [False, True])
def test_triplets_equal_a_plain_loop(num_samples, num_identities, mining, distance, margin, violated_only):
    embeddings, targets = made(num_samples, num_identities)
    options = dict(mining=mining, distance=distance, margin=margin, violated_only=violated_only)
    expected, counted = triplet_by_hand(embeddings, targets, **options)
    shares = triplet(embeddings, targets, **options)
    assert counted > 0 and shares.shape == (num_samples,) and shares.dtype == torch.float32
    torch.testing.assert_close(shares, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("mining", ["batch_hard", "batch_all"])
@pytest.mark.parametrize("margin", [0.1, 0.3, 2.0, None])
@pytest.mark.parametrize("violated_only", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_triplets_are_those_of_pytorch_metric_learning(sizes, mining, distance, margin, violated_only, seed):
    embeddings, targets = made(*sizes, seed=seed)
    embeddings.requires_grad_()
    far = library_distance(distance)
    theirs = TripletMarginLoss(
        margin=margin or 0.0,
        smooth_loss=margin is None,
        distance=far,
        reducer=AvgNonZeroReducer() if violated_only or mining == "batch_all" else MeanReducer(),
    )
    mined = BatchHardMiner(distance=far)(embeddings, targets) if mining == "batch_hard" else None
    options = dict(mining=mining, distance=distance, margin=margin, violated_only=violated_only)
    ours = triplet(embeddings, targets, **options).mean()
    equal_with_gradients(ours, theirs(embeddings, targets, mined), embeddings)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("seed", range(3))
def test_semi_hard_takes_the_nearest_of_pytorch_metric_learnings(distance, seed):
    # Its miner gives all semi-hard triplets: of each pair ours has the worst one. Pairs with none are either easy,
    # which costs nothing, or have every negative in front of the positive, which is for the plain loop alone.
    embeddings, targets = made(40, 9, seed=seed)
    far = library_distance(distance)
    miner = TripletMarginMiner(margin=0.3, type_of_triplets="semihard", distance=far)
    anchors, positives, negatives = miner(embeddings, targets)
    between = torch.tensor(distances_by_hand(embeddings, distance))
    worst = {}
    for anchor, positive, negative in zip(anchors.tolist(), positives.tolist(), negatives.tolist(), strict=True):
        loss = (between[anchor, positive] - between[anchor, negative] + 0.3).item()
        worst[anchor, positive] = max(loss, worst.get((anchor, positive), 0.0))
    total, num_pairs = sum(worst.values()), 0
    for anchor, positive in itertools.permutations(range(40), 2):
        others = between[anchor][targets != targets[anchor]]
        if targets[anchor] == targets[positive]:
            num_pairs += 1
            if not (others > between[anchor, positive]).any():
                total += (between[anchor, positive] - others.max() + 0.3).item()
    loss = triplet(embeddings, targets, mining="semi_hard", distance=distance, margin=0.3).mean()
    assert worst and loss.item() == pytest.approx(total / num_pairs, rel=1e-4)


@pytest.mark.parametrize("distance", DISTANCES)
def test_random_triplets_are_of_each_anchor_and_repeat_with_the_seed(distance):
    embeddings, targets = made(12, 3)
    far, labels = distances_by_hand(embeddings, distance), targets.tolist()
    possible = []
    for anchor, label in enumerate(labels):
        positives = [far[anchor][i] for i in range(12) if labels[i] == label and i != anchor]
        negatives = [far[anchor][i] for i in range(12) if labels[i] != label]
        possible.append({round(max(0.0, p - n + 5), 4) for p in positives for n in negatives})
    num_anchors, seen = sum(map(bool, possible)), [set() for _ in labels]
    for seed in range(300):
        torch.manual_seed(seed)
        shares = triplet(embeddings, targets, mining="random", distance=distance, margin=5.0)
        for anchor, share in enumerate((shares * num_anchors / 12).tolist()):
            seen[anchor].add(share)
    for anchor in range(12):
        for share in seen[anchor]:
            assert min(abs(share - expected) for expected in possible[anchor] or {0.0}) < 2e-4
        assert len({round(share, 4) for share in seen[anchor]}) >= len(possible[anchor])  # each has its turn
    torch.manual_seed(299)
    again = triplet(embeddings, targets, mining="random", distance=distance, margin=5.0)
    torch.testing.assert_close(again, shares, rtol=0, atol=0)


@pytest.mark.parametrize("mining", MININGS)
def test_an_identity_that_stands_alone_is_no_anchor_but_a_negative(mining):
    embeddings = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    targets = torch.tensor([5, 5, 9])
    shares = triplet(embeddings, targets, mining=mining, distance="euclidean", margin=4.0)
    # Anchors 0 and 1 have one triplet each: 1 - 3 + 4 and 1 - 2 + 4, in a mean over two and a batch of three.
    torch.testing.assert_close(shares, torch.tensor([2.0, 3.0, 0.0]) * 3 / 2)


def test_the_soft_margin_counts_every_triplet_also_where_rounding_makes_it_0():
    embeddings, targets = torch.tensor([[0.0], [1.0], [1.5], [400.0]]), torch.tensor([0, 0, 1, 2])
    options = dict(mining="batch_all", distance="euclidean", margin=None)
    expected, counted = triplet_by_hand(embeddings, targets, **options)
    assert counted == 4
    torch.testing.assert_close(triplet(embeddings, targets, **options), expected)


def test_semi_hard_keeps_matrices_alone_for_the_gradient():
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    embeddings = made(128)[0].requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        triplet(embeddings, torch.arange(128) // 4, mining="semi_hard", distance="cosine", margin=0.3)
    assert sum(kept.values()) < 16 * 4 * 128**2


def test_a_negative_as_far_as_the_positive_is_not_behind_it():
    embeddings, targets = torch.tensor([[0.0], [1.0], [-1.0], [3.0]]), torch.tensor([0, 0, 1, 2])
    shares = triplet(embeddings, targets, mining="semi_hard", distance="euclidean", margin=3.0)
    # Anchors 0 and 1: 1 - 3 + 3, not 1 - 1 + 3, and 1 - 2 + 3; a mean over two, in a batch of four.
    torch.testing.assert_close(shares, torch.tensor([1.0, 2.0, 0.0, 0.0]) * 4 / 2)
