"""MixUp, CutMix and label smoothing against timm, torch and a plain loop; and a training that uses all of it."""

import numpy as np
import pytest
import torch
from timm.data.mixup import Mixup
from torch.nn import functional
from training_faults import same, weights

from imettk.config import StageConfig
from imettk.data.augment import Augmentation
from imettk.data.dataset import Batch
from imettk.losses.cross_entropy import cross_entropy
from imettk.tasks import TASKS
from imettk.training.mixing import Mixing, pair_across, pair_within

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


def mix(classes, *, targets=None, count=6, key=1, **mixup):
    """Return the parts of each sample in each mix, from images whose channel s is bright for sample s alone."""
    images = 255 * torch.eye(count).view(count, 1, 1, count).expand(count, 8, 8, count)
    targets = MULTICLASS.soften(torch.tensor(CHOSEN[:count]), 4) if targets is None else targets
    arguments = {"mixup": 1.0, "cutmix": 0.0, "mode": "elem", "share": 1.0} | mixup
    images, mixed = Mixing(**arguments, classes=classes)(images, targets, key=key)
    parts = images.mean((1, 2)) / 255
    torch.testing.assert_close(mixed, parts @ targets, atol=1e-5, rtol=1e-4)
    return parts


CHOSEN = [0, 3, 1, 1, 2, 0, 1, 0, 3]


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
@pytest.mark.parametrize("kind", [{"mixup": 1.0, "cutmix": 0.0}, {"mixup": 0.0, "cutmix": 1.0}])
def test_partners_are_of_the_classes_that_are_chosen(mode, kind):
    classes, num_same, num_other = np.array(CHOSEN), 0, 0
    for key in range(8):
        same, other = (mix(name, count=9, mode=mode, key=key, **kind).numpy() > 0 for name in ("same", "other"))
        for row in range(9):
            assert set(classes[same[row]]) == {classes[row]}
            partners = set(np.flatnonzero(other[row])) - {row}
            assert classes[row] not in classes[list(partners)] and len(partners) <= 1
        num_same, num_other = num_same + same.sum() - 9, num_other + (other & ~np.eye(9, dtype=bool)).sum()
    assert num_same > 8 and num_other > 8


def test_samples_without_a_partner_stay_and_as_many_as_can_be_have_one():
    for seed in range(200):
        classes = np.random.default_rng(seed).integers(0, 1 + seed % 4, 2 + seed % 9)
        counts, size = np.bincount(classes), len(classes)
        within, across = pair_within(classes), pair_across(classes)
        assert len(within) == (counts // 2).sum() and len(across) == min(size // 2, size - counts.max())
        for pairs, alike in ((within, True), (across, False)):
            assert ((classes[pairs[:, 0]] == classes[pairs[:, 1]]) == alike).all()
            assert len(set(pairs.ravel())) == pairs.size
    different = torch.eye(4)
    assert torch.equal(mix("same", targets=different, count=4), torch.eye(4))


def test_grades_are_classes_too():
    grades = TASKS["ordinal"].soften(torch.tensor([1, 2, 1, 2]), 3)
    assert (mix("same", targets=grades, count=4) > 0).int().tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]] * 2


def test_its_share_of_the_batches_are_mosaics_and_the_others_as_without():
    both = Mixing(mixup=0.4, cutmix=0.0, mode="batch", share=1.0, mosaic=0.3)
    alone = Mixing(mixup=0.4, cutmix=0.0, mode="batch", share=1.0)
    only = Mixing(mixup=0.0, cutmix=0.0, mode="batch", share=1.0, mosaic=0.3)
    num_mosaics, num_kept = 0, 0
    for key in range(400):
        targets = MULTICLASS.soften(CLASSES, 4)
        (images, mixed), (pixels, parts) = both(IMAGES, targets, key=key), only(IMAGES, targets, key=key)
        if torch.equal(images, pixels.float()) and torch.equal(mixed, parts):
            num_mosaics += 1
            assert images.shape == IMAGES.shape and not torch.equal(images, IMAGES.float())
        else:
            expected, expected_targets = alone(IMAGES, targets, key=key)
            assert torch.equal(images, expected) and torch.equal(mixed, expected_targets)
            num_kept += pixels is IMAGES and parts is targets
    assert 80 < num_mosaics < 160 and num_kept == 400 - num_mosaics  # 4 standard deviations


class Augmented(torch.utils.data.Dataset):
    """Random images, grey and 6 x 6, through transforms that are given as text."""

    def __init__(self, *texts):
        self.images = np.random.default_rng(0).integers(0, 256, (24, 6, 6, 1), np.uint8)
        self.augmentation = Augmentation("flips", seed=3, size=(6, 6), channels=1, transforms=texts)

    def __getitem__(self, request):
        positions, rows = torch.from_numpy(request.positions), torch.from_numpy(request.rows)
        pairs = zip(request.rows, request.positions, strict=True)
        images = [self.augmentation(self.images[row], epoch=request.epoch, position=int(place)) for row, place in pairs]
        return Batch(torch.from_numpy(np.stack(images)), rows % 3, None, positions, rows)


@pytest.mark.parametrize("classes", ["same", "other"])
def test_a_training_that_stops_at_odd_steps_ends_with_the_bits_of_one_in_one_go(make_trainer, classes):
    mixing = {"mixup": 0.4, "cutmix": 1.0, "mix_mode": "elem", "mix_classes": classes, "mosaic": 0.4}
    stages = (StageConfig(num_epochs=4, batch_size=8, accumulate=2, lr=(0.02,), **mixing),)
    texts = "Rotate((-30, 30), p=0.7)", "OneOf([GaussNoise(), RandAugment(1, 9)], p=0.8)"
    whole = make_trainer("whole", stages=stages, dataset=Augmented(*texts))
    assert whole.fit() is None
    for limit in (1, 3, 5, None):
        trainer = make_trainer("parts", stages=stages, dataset=Augmented(*texts), limit_steps=limit)
        assert (trainer.fit() is None) == (limit is None)
    plain = make_trainer("plain", stages=stages, dataset=Augmented())
    plain.fit()
    assert same(weights(whole), weights(trainer)) and not same(weights(whole), weights(plain))


def test_pseudo_labels_pair_as_the_class_that_they_most_likely_are():
    targets = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.6, 0.1, 0.3], [0.2, 0.2, 0.6]])
    same = (mix("same", targets=targets, count=4) > 0).int()
    assert same.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]] * 2
    other = (mix("other", targets=targets, count=4) > 0).int() * (1 - torch.eye(4, dtype=torch.int32))
    assert (other.sum(1) == 1).all() and not (other * same).any()
