"""MixUp, CutMix and label smoothing against timm, torch and a plain loop."""

import numpy as np
import pytest
import torch
from timm.data.mixup import Mixup
from torch.nn import functional

from imettk.losses.cross_entropy import cross_entropy
from imettk.tasks import TASKS
from imettk.training.mixing import Mixing

MULTICLASS, MULTILABEL = TASKS["multiclass"], TASKS["multilabel"]
IMAGES = torch.randint(0, 256, (6, 9, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 3, 1, 1, 2, 0])


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
@pytest.mark.parametrize("mixup, cutmix", [(0.4, 0.0), (0.0, 1.0), (0.2, 0.7)])
def test_it_is_what_timm_makes_of_the_same_draws(mode, mixup, cutmix):
    mixing = Mixing(mixup=mixup, cutmix=cutmix, mode=mode, share=0.8)
    changed = 0
    for key in range(20):
        images, targets = mixing(IMAGES, MULTICLASS.soften(CLASSES, 4), key=key)
        np.random.seed(key)
        timms = Mixup(mixup, cutmix, prob=0.8, mode=mode, label_smoothing=0.0, num_classes=4)
        expected, expected_targets = timms(IMAGES.permute(0, 3, 1, 2).float(), CLASSES)
        torch.testing.assert_close(images.permute(0, 3, 1, 2), expected, rtol=0, atol=0)
        torch.testing.assert_close(targets, expected_targets)
        changed += not torch.equal(images, IMAGES.float())
    assert 5 < changed <= 20


def test_labels_mix_as_images_do_and_an_odd_sample_stays():
    labels = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0]], dtype=torch.uint8)
    bright = torch.arange(5).view(5, 1, 1, 1).expand(5, 4, 4, 1) * 40.0
    targets = MULTILABEL.soften(labels, 3)
    images, mixed = Mixing(mixup=1.0, cutmix=0.0, mode="elem", share=1.0)(bright, targets, key=5)
    for place in range(4):
        partner = 3 - place
        part = (images[place, 0, 0, 0] - 40.0 * partner) / (40.0 * (place - partner))
        expected = part * labels[place].float() + (1 - part) * labels[partner].float()
        torch.testing.assert_close(mixed[place], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(images[4], bright[4]) and mixed[4].tolist() == [1, 0, 0]


def test_it_leaves_its_input_alone_and_depends_on_the_key_alone():
    mixing = Mixing(mixup=1.0, cutmix=0.0, mode="batch", share=1.0)
    images, before = IMAGES.float(), IMAGES.float()
    targets = MULTICLASS.soften(CLASSES, 4)
    first, _ = mixing(images, targets, key=1 << 40)
    assert torch.equal(images, before)
    np.random.seed(99)
    again, _ = mixing(images, targets, key=1 << 40)
    assert torch.equal(first, again)
    assert not torch.equal(first, mixing(images, targets, key=7)[0])


def test_smoothing_of_classes_is_torchs():
    logits = torch.randn(6, 4)
    targets = MULTICLASS.smooth(MULTICLASS.soften(CLASSES, 4), 0.1)
    expected = functional.cross_entropy(logits, CLASSES, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(cross_entropy(logits, targets), expected)


def test_smoothing_of_labels_moves_each_toward_a_half():
    targets = MULTILABEL.smooth(MULTILABEL.soften(torch.tensor([[1, 0]], dtype=torch.uint8), 2), 0.2)
    assert targets.tolist() == [[pytest.approx(0.9), pytest.approx(0.1)]]


def test_hard_targets_as_soft_ones_give_the_same_loss():
    logits = torch.randn(6, 4)
    soft = MULTICLASS.soften(CLASSES, 4)
    torch.testing.assert_close(cross_entropy(logits, soft), cross_entropy(logits, CLASSES))


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_a_sample_is_unknown_where_a_part_of_it_is(mode):
    targets = torch.arange(18.0).view(6, 3)
    targets[1, 0] = targets[5, 2] = torch.nan
    mixing = Mixing(mixup=1.0, cutmix=0.0, mode=mode, share=1.0)
    _, mixed = mixing(IMAGES, targets, key=3)
    _, parts = mixing(IMAGES, torch.eye(6), key=3)
    for row, own in enumerate(parts):
        mixed_in = own > 0
        assert mixed_in.sum() == 2
        expected = (own[mixed_in, None] * targets[mixed_in]).sum(0)  # NaN where any of them is
        torch.testing.assert_close(mixed[row], expected, equal_nan=True)
    assert mixed.isnan().sum() == 4
