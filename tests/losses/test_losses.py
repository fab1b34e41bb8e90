"""Losses equal plain loops and known libraries, and stay finite for extreme logits."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import fbeta_score, jaccard_score
from timm.loss import AsymmetricLossMultiLabel
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from imettk.config.choices import LOSSES as ROWS
from imettk.losses.asymmetric import asymmetric
from imettk.losses.bce import bce
from imettk.losses.cross_entropy import cross_entropy
from imettk.losses.fbeta import soft_f_beta
from imettk.losses.focal import focal
from imettk.losses.focal_lovasz import focal_lovasz
from imettk.losses.hard_negative import hard_negative_bce
from imettk.losses.lovasz import lovasz

MULTILABEL = (
    "bce",
    "focal",
    "f_beta",
    "lovasz",
    "focal_lovasz",
    "focal_lovasz_hard",
    "hard_negative_bce",
    "asymmetric",
)
WHOLE_BATCH = ("lovasz", "focal_lovasz", "focal_lovasz_hard")
LOSSES = {name: row.load() for name, row in ROWS.items() if row.takes == "logits"}


def logits_of(num_samples=6, num_classes=5, seed=0):
    return torch.randn(num_samples, num_classes, generator=torch.Generator().manual_seed(seed)) * 4


def targets_of(num_samples=6, num_classes=5, seed=1):
    chosen = torch.rand(num_samples, num_classes, generator=torch.Generator().manual_seed(seed)) < 0.4
    chosen[0], chosen[1] = False, True  # a row without labels, and one with all
    return chosen.to(torch.uint8)


def log_sigmoid(value):
    return -math.log1p(math.exp(-value)) if value >= 0 else value - math.log1p(math.exp(value))


def bce_by_hand(logits, targets):
    return [
        sum(-log_sigmoid(logit if target else -logit) for logit, target in zip(*row, strict=True)) / len(row[0])
        for row in zip(logits, targets, strict=True)
    ]


def focal_by_hand(logits, targets, gamma=2.0, alpha=0.25):
    rows = []
    for row_logits, row_targets in zip(logits, targets, strict=True):
        total = 0.0
        for logit, target in zip(row_logits, row_targets, strict=True):
            prob = 1 / (1 + math.exp(-logit))
            prob_of_truth, weight = (prob, alpha) if target else (1 - prob, 1 - alpha)
            total += -weight * (1 - prob_of_truth) ** gamma * math.log(prob_of_truth)
        rows.append(total / len(row_logits))
    return rows


def sigmoid(logit):
    return math.exp(log_sigmoid(logit))


def f_beta_by_hand(logits, targets, beta=2.0):
    rows = []
    for row_logits, row_targets in zip(logits, targets, strict=True):
        hits = predicted = labels = 0.0
        for logit, target in zip(row_logits, row_targets, strict=True):
            hits += sigmoid(logit) * target
            predicted += sigmoid(logit)
            labels += target
        smoothing = max(0.0, 1 - labels)
        f_beta = ((1 + beta * beta) * hits + smoothing) / (predicted + beta * beta * labels + smoothing)
        rows.append(1 - f_beta)
    return rows


def jaccard_loss(mistakes, present):
    """1 - Jaccard index of the present ones and what is predicted with these mistakes."""
    return len(mistakes) / len(present | mistakes) if mistakes else 0.0


def lovasz_by_hand(logits, targets):
    size, num_classes = len(logits), len(logits[0])
    shares = [0.0] * size
    for column in range(num_classes):
        for sign in (1, -1):
            present = {row for row in range(size) if (targets[row][column] > 0.5) == (sign > 0)}
            errors = [1 - sign * logits[row][column] * (1 if row in present else -1) for row in range(size)]
            mistakes = set()
            for row in sorted(range(size), key=lambda row: -errors[row]):
                step = jaccard_loss(mistakes | {row}, present) - jaccard_loss(mistakes, present)
                mistakes.add(row)
                shares[row] += size * step * max(0.0, errors[row]) / 2 / num_classes
    return shares


def focal_lovasz_by_hand(logits, targets):
    rows = []
    for row_logits, row_targets, share in zip(logits, targets, lovasz_by_hand(logits, targets), strict=True):
        for logit, target in zip(row_logits, row_targets, strict=True):
            prob_of_truth = sigmoid(logit if target else -logit)
            share -= (1 - prob_of_truth) ** 2 * math.log(prob_of_truth)
        rows.append(share)
    return rows


def hard_negative_by_hand(logits, targets, share=0.25):
    rows = []
    for row_logits, row_targets in zip(logits, targets, strict=True):
        present, absent = [], []
        for logit, target in zip(row_logits, row_targets, strict=True):
            loss = -target * log_sigmoid(logit) - (1 - target) * log_sigmoid(-logit)
            (present if target > 0.5 else absent).append(loss)
        counted = present + sorted(absent, reverse=True)[: max(1, round(share * len(absent)))]
        rows.append(sum(counted) / len(counted))
    return rows


def asymmetric_by_hand(logits, targets, gamma_positive=1.0, gamma_negative=4.0, clip=0.05):
    rows = []
    for row_logits, row_targets in zip(logits, targets, strict=True):
        total = 0.0
        for logit, target in zip(row_logits, row_targets, strict=True):
            prob, shifted = sigmoid(logit), max(0.0, sigmoid(logit) - clip)
            if target:
                total -= (1 - prob) ** gamma_positive * math.log(prob)
            else:
                total -= shifted**gamma_negative * math.log(1 - shifted)
        rows.append(total / len(row_logits))
    return rows


def cross_entropy_by_hand(logits, targets):
    return [
        math.log(sum(math.exp(logit) for logit in row)) - row[target]
        for row, target in zip(logits, targets, strict=True)
    ]


def by_hand(function, logits, targets, **options):
    return torch.tensor(function(logits.double().tolist(), targets.tolist(), **options), dtype=torch.float32)


def focal_lovasz_hard_by_hand(logits, targets):
    parts = focal_lovasz_by_hand(logits, targets), hard_negative_by_hand(logits, targets)
    return [sum(each) for each in zip(*parts, strict=True)]


PLAIN = {
    "bce": bce_by_hand,
    "focal": focal_by_hand,
    "f_beta": f_beta_by_hand,
    "lovasz": lovasz_by_hand,
    "focal_lovasz": focal_lovasz_by_hand,
    "focal_lovasz_hard": focal_lovasz_hard_by_hand,
    "hard_negative_bce": hard_negative_by_hand,
    "asymmetric": asymmetric_by_hand,
}


@pytest.mark.parametrize("name", MULTILABEL)
@pytest.mark.parametrize(("num_samples", "num_classes"), [(6, 5), (2, 1), (40, 12)])
def test_multilabel_losses_equal_a_plain_loop(name, num_samples, num_classes):
    logits, targets = logits_of(num_samples, num_classes), targets_of(num_samples, num_classes)
    torch.testing.assert_close(LOSSES[name](logits, targets), by_hand(PLAIN[name], logits, targets))


@pytest.mark.parametrize("name", MULTILABEL)
def test_gradients_are_finite_differences_of_the_plain_loop(name):
    # In float64, which the losses themselves leave: `gradcheck` would see the rounding of float32 alone.
    logits, targets, width = logits_of(seed=5).double(), targets_of(seed=6), 1e-6
    leaf = logits.float().requires_grad_()
    (gradient,) = torch.autograd.grad(LOSSES[name](leaf, targets).sum(), leaf)
    expected = torch.empty_like(logits)
    for row, column in np.ndindex(6, 5):
        step = torch.zeros_like(logits)
        step[row, column] = width
        above, below = (sum(PLAIN[name](moved.tolist(), targets.tolist())) for moved in (logits + step, logits - step))
        expected[row, column] = (above - below) / (2 * width)
    torch.testing.assert_close(gradient, expected.float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("gamma", "alpha"), [(0.0, 0.5), (1.0, 0.25), (2.0, 0.75), (3.5, 0.1)])
def test_focal_equals_a_plain_loop_and_torchvision(gamma, alpha):
    logits, targets = logits_of(seed=2), targets_of(seed=3)
    loss = focal(logits, targets, gamma=gamma, alpha=alpha)
    torch.testing.assert_close(loss, by_hand(focal_by_hand, logits, targets, gamma=gamma, alpha=alpha))
    torch.testing.assert_close(loss, sigmoid_focal_loss(logits, targets.float(), alpha=alpha, gamma=gamma).mean(1))


def test_the_default_focal_is_that_of_torchvision():
    logits, targets = logits_of(), targets_of()
    torch.testing.assert_close(focal(logits, targets), sigmoid_focal_loss(logits, targets.float()).mean(1))


def test_focal_of_soft_targets_is_that_of_torchvision():
    logits, soft = logits_of(), torch.rand(6, 5, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(focal(logits, soft), sigmoid_focal_loss(logits, soft).mean(1))


def test_bce_equals_torch_and_takes_soft_targets():
    logits, soft = logits_of(), torch.rand(6, 5, generator=torch.Generator().manual_seed(4))
    probs = logits.double().sigmoid()
    expected = -(soft * probs.log() + (1 - soft) * (1 - probs).log()).mean(1)
    torch.testing.assert_close(bce(logits, soft), expected.float())


def test_cross_entropy_equals_a_plain_loop_and_torch():
    logits, targets = logits_of(), torch.tensor([0, 4, 2, 2, 1, 3])
    loss = cross_entropy(logits, targets)
    torch.testing.assert_close(loss, by_hand(cross_entropy_by_hand, logits, targets))
    torch.testing.assert_close(loss.mean(), functional.cross_entropy(logits, targets))


def random_targets(name):
    return targets_of() if name in MULTILABEL else torch.tensor([0, 4, 2, 2, 1, 3])


# A loss over the whole batch is exempt: what a sample adds to it depends on the others by definition.
@pytest.mark.parametrize("name", [name for name in LOSSES if name not in WHOLE_BATCH])
def test_each_sample_counts_for_itself(name):
    logits, targets = logits_of(), random_targets(name)
    whole = LOSSES[name](logits, targets)
    assert whole.shape == (6,) and whole.dtype == torch.float32
    for row in range(6):
        torch.testing.assert_close(LOSSES[name](logits[row : row + 1], targets[row : row + 1])[0], whole[row])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [60.0, -60.0])
def test_extreme_logits_give_finite_values_and_gradients(name, size):
    logits = torch.full((6, 5), size)
    logits[:, 1::2] *= -1
    logits.requires_grad_()
    loss = LOSSES[name](logits, random_targets(name))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all() and gradient.isfinite().all()
    assert (loss > (0.5 if name == "f_beta" else 1)).any()  # wrong with such confidence costs much; F is at most 1


MISS = {"bce": 60, "focal": 0.25 * 60, "lovasz": 61, "focal_lovasz": 61 + 3 * 60, "hard_negative_bce": 60}
MISS |= {"asymmetric": 60, "focal_lovasz_hard": MISS["focal_lovasz"] + 60}


@pytest.mark.parametrize("name", MISS)
def test_a_confident_miss_costs_its_logit_and_has_a_gradient(name):
    logits = torch.full((1, 3), -60.0, requires_grad=True)
    loss = LOSSES[name](logits, torch.ones(1, 3))
    torch.testing.assert_close(loss, torch.tensor([float(MISS[name])]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    # All but the hinge's margin of 1 is linear in the logit, so each class has a third of the slope.
    margin = 1 if name in WHOLE_BATCH else 0
    torch.testing.assert_close(gradient, torch.full((1, 3), -(MISS[name] - margin) / 60 / 3))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    logits, targets = logits_of().to(dtype), random_targets(name)
    loss = LOSSES[name](logits, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, LOSSES[name](logits.float(), targets), rtol=0, atol=0)


@pytest.mark.parametrize("name", MULTILABEL)
@pytest.mark.parametrize("present", [0, 1])
@pytest.mark.parametrize("size", [0.0, 4.0, -4.0, 60.0, -60.0, 1000.0, -1000.0])
def test_rows_and_batches_without_labels_or_with_all_are_finite(name, present, size):
    logits = torch.full((4, 3), size, requires_grad=True)
    loss = LOSSES[name](logits, torch.full((4, 3), present, dtype=torch.uint8))
    (gradient,) = torch.autograd.grad(loss.sum() * 65536, logits)  # with float16's loss scale
    assert loss.isfinite().all() and gradient.isfinite().all()
    if (size > 0) == bool(present) and abs(size) >= 60:
        torch.testing.assert_close(loss, torch.zeros(4))  # all of it right
    elif (size > 0) != bool(present):
        assert (loss > 0).all()


@pytest.mark.parametrize("name", MULTILABEL)
def test_right_costs_less_than_wrong_and_nan_shows(name):
    targets = targets_of(20, 8)
    right = (targets.float() * 2 - 1) * 3
    assert LOSSES[name](right, targets).mean() < LOSSES[name](-right, targets).mean()
    right[3, 4] = torch.nan
    assert LOSSES[name](right, targets).isnan().any()  # a step must see it, to be skipped


@pytest.mark.parametrize("name", MULTILABEL)
def test_types_of_targets_do_not_matter_and_soft_ones_have_finite_gradients(name):
    logits, targets = logits_of().requires_grad_(), targets_of()
    torch.testing.assert_close(LOSSES[name](logits, targets.float()), LOSSES[name](logits, targets), rtol=0, atol=0)
    soft = torch.rand(6, 5, generator=torch.Generator().manual_seed(4))
    loss = LOSSES[name](logits, soft)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all() and gradient.isfinite().all() and gradient.any()


def test_only_losses_over_the_whole_batch_say_so():
    assert tuple(name for name in LOSSES if ROWS[name].whole_batch) == WHOLE_BATCH


@pytest.mark.parametrize("name", WHOLE_BATCH)
def test_shares_of_a_whole_batch_follow_their_samples(name):
    logits, targets = logits_of(), targets_of()
    whole = LOSSES[name](logits, targets)
    assert whole.shape == (6,) and whole.dtype == torch.float32
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    torch.testing.assert_close(LOSSES[name](logits[order], targets[order]), whole[order])
    assert not torch.allclose(LOSSES[name](logits[:3], targets[:3]), whole[:3])  # they do depend on the others


def decisions_of(num_samples=30, num_classes=7, seed=7):
    return torch.rand(num_samples, num_classes, generator=torch.Generator().manual_seed(seed)) < 0.5


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


def test_lovasz_of_decisions_is_the_jaccard_loss_of_sklearn():
    targets, wrong = targets_of(30, 7), decisions_of()
    present = targets.bool()
    # Errors of 1 where wrong, else 0: there the extension meets the set function it extends.
    logits = torch.where(present, 1.0, -1.0).masked_fill(wrong, 0.0)
    scores = [
        jaccard_score(truth[:, column].numpy(), (truth ^ wrong)[:, column].numpy(), zero_division=1.0)
        for column in range(7)
        for truth in (present, ~present)
    ]
    assert lovasz(logits, targets).mean().item() == pytest.approx(1 - np.mean(scores), abs=1e-6)


def test_lovasz_of_right_and_confident_logits_is_0_and_worse_order_costs_more():
    targets = targets_of(20, 8)
    right = (targets.float() * 2 - 1) * 10
    assert not lovasz(right, targets).any()
    labels = torch.tensor([[1.0], [1.0], [0.0], [0.0]])
    costs = [
        lovasz(torch.tensor(order)[:, None] / 4, labels).mean().item()
        for order in ([4.0, 3.0, 2.0, 1.0], [4.0, 2.0, 3.0, 1.0], [2.0, 3.0, 1.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    ]
    assert costs == sorted(costs) and len(set(costs)) == 4


def test_lovasz_takes_soft_targets_above_half_as_present():
    logits = logits_of()
    soft = torch.rand(6, 5, generator=torch.Generator().manual_seed(4))
    soft[2, 3] = 0.5
    torch.testing.assert_close(lovasz(logits, soft), by_hand(lovasz_by_hand, logits, soft))
    torch.testing.assert_close(lovasz(logits, soft), lovasz(logits, (soft > 0.5).to(torch.uint8)), rtol=0, atol=0)


def test_focal_lovasz_is_the_sum_of_torchvisions_focal_and_lovasz():
    logits, targets = logits_of(), targets_of()
    focal_sum = sigmoid_focal_loss(logits, targets.float(), alpha=-1, gamma=2).sum(1)
    torch.testing.assert_close(focal_lovasz(logits, targets), focal_sum + lovasz(logits, targets))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_hard_negative_bce_equals_a_plain_loop(share):
    logits, targets = logits_of(20, 17), targets_of(20, 17)
    loss = hard_negative_bce(logits, targets, share=share)
    torch.testing.assert_close(loss, by_hand(hard_negative_by_hand, logits, targets, share=share))
    if share == 1:
        torch.testing.assert_close(loss, bce(logits, targets))
    soft = torch.rand(20, 17, generator=torch.Generator().manual_seed(4))
    loss = hard_negative_bce(logits, soft, share=share)
    torch.testing.assert_close(loss, by_hand(hard_negative_by_hand, logits, soft, share=share))


def test_hard_negative_bce_moves_only_labels_that_count():
    logits = torch.tensor([[-2.0, 3.0, 1.0, -1.0, 0.5]], requires_grad=True)
    loss = hard_negative_bce(logits, torch.tensor([[1, 0, 0, 0, 0]]), share=0.5)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert (gradient != 0).tolist() == [[True, True, True, False, False]]


@pytest.mark.parametrize(("gamma_positive", "gamma_negative"), [(1.0, 4.0), (0.0, 4.0), (0.0, 0.0), (2.5, 1.0)])
@pytest.mark.parametrize("clip", [0.0, 0.05, 0.3])
def test_asymmetric_equals_a_plain_loop_and_timm(gamma_positive, gamma_negative, clip):
    options = dict(gamma_positive=gamma_positive, gamma_negative=gamma_negative, clip=clip)
    logits, targets = logits_of().requires_grad_(), targets_of()
    loss = asymmetric(logits, targets, **options)
    torch.testing.assert_close(loss, by_hand(asymmetric_by_hand, logits, targets, **options))
    timm = AsymmetricLossMultiLabel(gamma_negative, gamma_positive, clip)
    soft = torch.rand(6, 5, generator=torch.Generator().manual_seed(4))
    for wanted in (targets, soft):
        # One sample at a time: over a single one timm's sum and its mean over the batch, by version, are the same.
        each = [timm(row[None], labels[None]) / 5 for row, labels in zip(logits, wanted, strict=True)]
        ours, theirs = asymmetric(logits, wanted, **options), torch.stack(each)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        gradients = [torch.autograd.grad(losses.sum(), logits)[0] for losses in (ours, theirs)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_the_default_asymmetric_loss_is_that_of_timm():
    logits, targets = logits_of(), targets_of()
    timm = torch.stack(
        [AsymmetricLossMultiLabel()(*row) for row in zip(logits.split(1), targets.split(1), strict=True)]
    )
    torch.testing.assert_close(asymmetric(logits, targets), timm / 5)


@pytest.mark.parametrize(("size", "cost", "slope"), [(60.0, 60.0, 1.0), (1000.0, -math.log(1e-30), 0.0)])
def test_asymmetric_without_clip_stays_finite(size, cost, slope):
    logits = torch.tensor([[size]], requires_grad=True)
    loss = asymmetric(logits, torch.zeros(1, 1), clip=0.0)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.item() == pytest.approx(cost, rel=1e-5) and gradient.item() == pytest.approx(slope, rel=1e-5)
