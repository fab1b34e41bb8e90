"""Every loss of logits in LOSSES: plain loops, gradients, extreme logits, half precision."""

from functools import partial

import numpy as np
import pytest
import torch
from label_losses import PLAIN, by_hand, logits_of, targets_of

from imettk.config.choices import LOSSES as ROWS

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
LOSSES = {
    name: partial(row.load(), parts=(2, 3)) if row.by_part else row.load()
    for name, row in ROWS.items()
    if row.takes == "logits"
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


def random_targets(name):
    if "values" in ROWS[name].targets:
        return torch.rand(6, 5, generator=torch.Generator().manual_seed(1))
    if "votes" in ROWS[name].targets:
        return torch.rand(6, 5, generator=torch.Generator().manual_seed(1)).softmax(1)
    return targets_of() if name in MULTILABEL or ROWS[name].by_part else torch.tensor([0, 4, 2, 2, 1, 3])


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
