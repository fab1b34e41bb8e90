"""ArcFace equals pytorch-metric-learning and plain loops, and stays finite at the ends of the cosine."""

import math

import pytest
import torch
from class_centres import SHAPES, cosines_of, equal_with_gradients, made
from pytorch_metric_learning.losses import ArcFaceLoss, SubCenterArcFaceLoss
from torch.nn.functional import normalize

from imettk.losses.arcface import add_angular_margin, arcface, margins_by_size


def lowered_by_hand(cosine, margin, easy_margin=False):
    if easy_margin:
        return math.cos(math.acos(cosine) + margin) if cosine > 0 else cosine
    angle = math.acos(cosine) + margin
    return math.cos(angle) if angle <= math.pi else cosine - margin * math.sin(margin)


def cross_entropy_by_hand(logits, target):
    top = max(logits)
    return top + math.log(sum(math.exp(logit - top) for logit in logits)) - logits[target]


def arcface_by_hand(cosine, targets, *, scale=30.0, margins=None, easy_margin=False, plain_weight=0.0):
    rows = []
    for row, target in zip(cosine.double().tolist(), targets.tolist(), strict=True):
        plain = cross_entropy_by_hand([scale * value for value in row], target)
        row[target] = lowered_by_hand(row[target], margins[target] if margins else 0.5, easy_margin)
        arc = cross_entropy_by_hand([scale * value for value in row], target)
        rows.append((arc + plain_weight * plain) / (1 + plain_weight))
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(("num_samples", "num_classes"), SHAPES)
@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_arcface_is_that_of_pytorch_metric_learning(num_samples, num_classes, margin, seed):
    embeddings, centres, targets = made(num_samples, num_classes, seed=seed)
    theirs = ArcFaceLoss(num_classes, 3, margin=math.degrees(margin), scale=30)
    theirs.W.data = centres.T.clone()
    embeddings.requires_grad_()
    ours = arcface(normalize(embeddings) @ centres.T, targets, scale=30, margin=margin)
    assert ours.shape == (num_samples,) and ours.dtype == torch.float32
    equal_with_gradients(ours.mean(), theirs(embeddings, targets), embeddings)


def test_the_samples_above_pass_both_sides_of_the_bound():
    cosine, targets = cosines_of(40, 12)
    beyond = cosine.gather(1, targets[:, None]).acos() + 1.5 > math.pi
    assert 5 < beyond.sum() < 35


@pytest.mark.parametrize("num_centres", [1, 2, 3])
def test_arcface_over_the_nearest_sub_centre_is_that_of_pytorch_metric_learning(num_centres):
    embeddings, centres, targets = made(20, 5 * num_centres)
    targets = targets % 5
    theirs = SubCenterArcFaceLoss(
        num_classes=5, embedding_size=3, margin=math.degrees(0.5), scale=30, sub_centers=num_centres
    )
    theirs.W.data = centres.T.clone()
    embeddings.requires_grad_()
    cosine = (normalize(embeddings) @ centres.T).view(20, 5, num_centres).amax(2)
    equal_with_gradients(arcface(cosine, targets).mean(), theirs(embeddings, targets), embeddings)


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("plain_weight", [0.0, 0.5, 2.0])
def test_arcface_equals_a_plain_loop(easy_margin, plain_weight):
    cosine, targets = cosines_of(40, 12)
    options = dict(scale=20.0, easy_margin=easy_margin, plain_weight=plain_weight)
    torch.testing.assert_close(arcface(cosine, targets, **options), arcface_by_hand(cosine, targets, **options).float())


@pytest.mark.parametrize("easy_margin", [False, True])
def test_each_class_may_have_its_own_margin(easy_margin):
    cosine, targets = cosines_of(40, 12)
    margins = torch.linspace(0, 1.5, 12)
    expected = arcface_by_hand(cosine, targets, margins=margins.tolist(), easy_margin=easy_margin).float()
    torch.testing.assert_close(arcface(cosine, targets, margin=margins, easy_margin=easy_margin), expected)
    shared = arcface(cosine, targets, margin=torch.full((12,), 0.4), easy_margin=easy_margin)
    torch.testing.assert_close(shared, arcface(cosine, targets, margin=0.4, easy_margin=easy_margin))


def test_only_the_own_class_is_lowered():
    cosine, targets = cosines_of(40, 12)
    widened = add_angular_margin(cosine, targets, margin=0.5)
    is_target = torch.zeros_like(cosine, dtype=torch.bool).scatter(1, targets[:, None], True)
    assert (widened[is_target] < cosine[is_target]).all()
    torch.testing.assert_close(widened[~is_target], cosine[~is_target], rtol=0, atol=0)


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5, 1.5])
def test_a_larger_angle_never_gets_a_higher_logit(margin):
    cosine = torch.linspace(-1, 1, 10001)[:, None]
    lowered = add_angular_margin(cosine, torch.zeros(10001, dtype=torch.int64), margin=margin)[:, 0]
    assert (lowered.diff() >= 0).all()


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.5, 1.57])
@pytest.mark.parametrize("end", [1.0, -1.0, 1.0000001, -1.0000001])
def test_the_ends_of_the_cosine_give_finite_values_and_gradients(end, margin, easy_margin):
    cosine = torch.tensor([[end, 0.2, -0.3], [-end, end, -end]], requires_grad=True)
    targets = torch.tensor([0, 1])
    widened = add_angular_margin(cosine, targets, margin=margin, easy_margin=easy_margin)
    expected = lowered_by_hand(max(-1.0, min(1.0, end)), margin, easy_margin)
    assert widened[0, 0].item() == pytest.approx(expected, abs=1e-3)  # the angle of the last float below 1 is 5e-4
    loss = arcface(cosine, targets, margin=margin, easy_margin=easy_margin, plain_weight=1.0)
    (gradient,) = torch.autograd.grad(loss.sum() * 65536, cosine)  # with float16's loss scale
    assert loss.isfinite().all() and gradient.isfinite().all()


def test_gradients_are_finite_differences_of_the_plain_loop():
    # In float64, which the losses themselves leave: `gradcheck` would see the rounding of float32 alone.
    cosine, targets = cosines_of(6, 4)
    cosine, width = cosine.double(), 1e-6
    options = dict(easy_margin=False, plain_weight=0.5)
    leaf = cosine.float().requires_grad_()
    (gradient,) = torch.autograd.grad(arcface(leaf, targets, **options).sum(), leaf)
    expected = torch.empty_like(cosine)
    for row in range(6):
        for column in range(4):
            step = torch.zeros_like(cosine)
            step[row, column] = width
            above, below = (arcface_by_hand(cosine + sign * step, targets, **options) for sign in (1, -1))
            expected[row, column] = (above - below).sum() / (2 * width)
    torch.testing.assert_close(gradient, expected.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("margin", [28.6, -0.1, math.pi / 2, math.nan])
def test_a_margin_outside_its_range_is_refused(margin):
    cosine, targets = cosines_of()
    with pytest.raises(ValueError, match=r"^`margin` must be in \[0, pi/2\) radians, got .*; is it in degrees\?$"):
        add_angular_margin(cosine, targets, margin=margin)


def test_the_refusal_names_the_margin():
    cosine, targets = cosines_of()
    with pytest.raises(ValueError) as refused:
        arcface(cosine, targets, margin=28.6)
    assert str(refused.value) == "`margin` must be in [0, pi/2) radians, got 28.6; is it in degrees?"


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
def test_margins_by_size_are_a_power_law_between_both_ends(power):
    counts = [3, 700, 20, 3, 100]
    margins = margins_by_size(torch.tensor(counts), low=0.2, high=0.5, power=power)
    slope = (0.5 - 0.2) / (3**-power - 700**-power)
    expected = [slope * count**-power + 0.5 - slope * 3**-power for count in counts]
    torch.testing.assert_close(margins, torch.tensor(expected))
    assert margins[0] == pytest.approx(0.5) and margins[1] == pytest.approx(0.2)


def test_classes_without_images_and_classes_of_one_size_have_the_high_margin():
    margins = margins_by_size(torch.tensor([0, 1, 50]), low=0.2, high=0.5)
    torch.testing.assert_close(margins, torch.tensor([0.5, 0.5, 0.2]))
    torch.testing.assert_close(margins_by_size(torch.tensor([7, 7]), low=0.2, high=0.5), torch.full((2,), 0.5))
    torch.testing.assert_close(margins_by_size(torch.tensor([0, 0]), low=0.2, high=0.5), torch.full((2,), 0.5))


@pytest.mark.parametrize("wrong", [28.6, -0.1, math.nan])
def test_a_margin_of_one_class_outside_the_range_is_refused(wrong):
    cosine, targets = cosines_of()
    with pytest.raises(ValueError, match="is it in degrees"):
        arcface(cosine, targets, margin=torch.tensor([0.1, 0.2, wrong, 0.3, 0.4]))


def test_a_sample_right_opposite_of_its_class_has_a_way_back():
    cosine = torch.tensor([[-1.0, 0.5]], requires_grad=True)
    for easy_margin in (False, True):
        loss = arcface(cosine, torch.tensor([0]), easy_margin=easy_margin)
        (gradient,) = torch.autograd.grad(loss.sum(), cosine)
        torch.testing.assert_close(gradient, torch.tensor([[-30.0, 30.0]]))
