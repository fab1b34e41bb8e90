"""Triplet and contrastive losses equal pytorch-metric-learning and plain loops, and are 0 where no pair is."""

import itertools
import math

import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss, TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer

from imettk.config.choices import LOSSES
from imettk.losses.contrastive import contrastive
from imettk.losses.triplet import triplet

MININGS = ("batch_hard", "batch_all", "semi_hard", "random")
DISTANCES = ("cosine", "euclidean")
SIZES = [(6, 2), (16, 4), (40, 9)]  # samples and identities; with 9 some stand alone


def made(num_samples=16, num_identities=4, size=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(num_samples, size, generator=generator)
    return embeddings, torch.randint(num_identities, (num_samples,), generator=generator)


def library_distance(distance):
    return CosineSimilarity() if distance == "cosine" else LpDistance(normalize_embeddings=False)


def distances_by_hand(embeddings, distance):
    rows = embeddings.double().tolist()

    def norm(row):
        return math.sqrt(sum(value * value for value in row))

    def one(left, right):
        if distance == "euclidean":
            return math.dist(left, right)
        return 1 - sum(a * b for a, b in zip(left, right, strict=True)) / norm(left) / norm(right)

    return [[one(left, right) for right in rows] for left in rows]


def hinge(gap, margin):
    return math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin)


def triplet_by_hand(embeddings, targets, *, mining, distance, margin, violated_only=False):
    """Shares of the anchors, and the number of triplets in the mean."""
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


def contrastive_by_hand(embeddings, targets, *, distance, margin):
    far, labels = distances_by_hand(embeddings, distance), targets.tolist()
    shares = [0.0] * len(labels)
    for of_same in (True, False):
        losses = {}
        for left, right in itertools.permutations(range(len(labels)), 2):
            if (labels[left] == labels[right]) == of_same:
                losses[left, right] = far[left][right] if of_same else max(0.0, margin - far[left][right])
        counted = max(1, sum(loss > 0 for loss in losses.values()))
        for (left, _), loss in losses.items():
            shares[left] += len(labels) * loss / counted
    return torch.tensor(shares)


def equal_with_gradients(ours, theirs, leaf):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(loss, leaf)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


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


@pytest.mark.parametrize(("num_samples", "num_identities"), SIZES)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("mining", ["batch_hard", "batch_all"])
@pytest.mark.parametrize("margin", [0.1, 0.3, 2.0, None])
@pytest.mark.parametrize("violated_only", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_triplets_are_those_of_pytorch_metric_learning(
    num_samples, num_identities, mining, distance, margin, violated_only, seed
):
    embeddings, targets = made(num_samples, num_identities, seed=seed)
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


@pytest.mark.parametrize(("num_samples", "num_identities"), SIZES)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("margin", [0.2, 0.5, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_contrastive_is_that_of_pytorch_metric_learning(num_samples, num_identities, distance, margin, seed):
    embeddings, targets = made(num_samples, num_identities, seed=seed)
    embeddings.requires_grad_()
    # Its cosine distance is a similarity: margins count from the other end.
    margins = dict(pos_margin=1, neg_margin=1 - margin) if distance == "cosine" else dict(neg_margin=margin)
    theirs = ContrastiveLoss(**margins, distance=library_distance(distance))
    shares = contrastive(embeddings, targets, margin=margin, distance=distance)
    assert shares.shape == (num_samples,) and shares.dtype == torch.float32
    torch.testing.assert_close(
        shares, contrastive_by_hand(embeddings, targets, distance=distance, margin=margin), rtol=1e-4, atol=1e-5
    )
    equal_with_gradients(shares.mean(), theirs(embeddings, targets), embeddings)


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
            assert min(abs(share - one) for one in possible[anchor] or {0.0}) < 2e-4
        assert len({round(share, 4) for share in seen[anchor]}) >= len(possible[anchor])  # each has its turn
    torch.manual_seed(299)
    again = triplet(embeddings, targets, mining="random", distance=distance, margin=5.0)
    torch.testing.assert_close(again, shares, rtol=0, atol=0)


def losses_of_all(embeddings, targets, *, margin=0.3):
    for distance in DISTANCES:
        for mining in MININGS:
            for one in (margin, None):
                yield triplet(embeddings, targets, mining=mining, distance=distance, margin=one)
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
        for one, other in zip(shares, expected, strict=True):
            assert one.dtype == torch.float32
            torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("mining", MININGS)
def test_an_identity_that_stands_alone_is_no_anchor_but_a_negative(mining):
    embeddings = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    targets = torch.tensor([5, 5, 9])
    shares = triplet(embeddings, targets, mining=mining, distance="euclidean", margin=4.0)
    # Anchors 0 and 1 have one triplet each: 1 - 3 + 4 and 1 - 2 + 4, in a mean over two and a batch of three.
    torch.testing.assert_close(shares, torch.tensor([2.0, 3.0, 0.0]) * 3 / 2)


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
