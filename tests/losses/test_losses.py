"""Losses equal plain loops and known libraries, and stay finite for extreme logits."""

import math

import pytest
import torch
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from imettk.losses import LOSSES
from imettk.losses.bce import bce
from imettk.losses.cross_entropy import cross_entropy
from imettk.losses.focal import focal

MULTILABEL = ("bce", "focal")


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


def cross_entropy_by_hand(logits, targets):
    return [
        math.log(sum(math.exp(logit) for logit in row)) - row[target]
        for row, target in zip(logits, targets, strict=True)
    ]


def by_hand(function, logits, targets, **options):
    return torch.tensor(function(logits.double().tolist(), targets.tolist(), **options), dtype=torch.float32)


@pytest.mark.parametrize(("loss_fn", "plain"), [(bce, bce_by_hand), (focal, focal_by_hand)])
def test_multilabel_losses_equal_a_plain_loop(loss_fn, plain):
    logits, targets = logits_of(), targets_of()
    torch.testing.assert_close(loss_fn(logits, targets), by_hand(plain, logits, targets))


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


@pytest.mark.parametrize("name", LOSSES)
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
    assert (loss > 1).any()  # what is wrong with such confidence costs much


@pytest.mark.parametrize(("name", "least"), [("bce", 60.0), ("focal", 0.25 * 60)])
def test_a_confident_miss_costs_its_logit(name, least):
    loss = LOSSES[name](torch.full((1, 3), -60.0), torch.ones(1, 3))
    torch.testing.assert_close(loss, torch.tensor([least]))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    logits, targets = logits_of().to(dtype), random_targets(name)
    loss = LOSSES[name](logits, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, LOSSES[name](logits.float(), targets), rtol=0, atol=0)
