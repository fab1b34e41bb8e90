"""Rows of AUGMENTATIONS do what their names say; tests/data/test_augment.py draws from all of them."""

import numpy as np
import pytest

from imettk.data.augment import Augmentation
from imettk.data.auto_augment import AugMix, RandAugment
from imettk.data.pipelines import augmix, gridmask, randaugment


def augmentation_of(name, channels=3, size=(24, 32)):
    return Augmentation(name, seed=7, size=size, channels=channels)


def test_flips_are_half_of_the_draws_and_nothing_else_happens():
    image, augmentation = np.random.default_rng(3).integers(0, 256, (24, 32, 3), np.uint8), augmentation_of("flips")
    num_flipped = 0
    for position in range(400):
        result = augmentation(image, epoch=0, position=position)
        flipped = np.array_equal(result, image[:, ::-1])
        assert flipped or np.array_equal(result, image)
        num_flipped += flipped
    assert 150 < num_flipped < 250  # 5 standard deviations


def test_protein_cuts_at_the_images_own_scale_and_only_turns_and_mirrors():
    image = np.random.default_rng(0).integers(0, 256, (48, 40, 4), np.uint8)
    windows = {}
    for top in range(48 - 16 + 1):
        for left in range(40 - 16 + 1):
            part = image[top : top + 16, left : left + 16]
            for turn in range(4):
                turned = np.rot90(part, turn)
                windows[turned.tobytes()] = (turn, 0)
                windows[turned[:, ::-1].tobytes()] = (turn, 1)
    augmentation = augmentation_of("protein", channels=4, size=(16, 16))
    draws = [augmentation(image, epoch=0, position=position) for position in range(200)]
    seen = {windows[draw.tobytes()] for draw in draws}
    assert len(seen) == 8 and len({draw.tobytes() for draw in draws}) > 190


@pytest.mark.parametrize(("pipeline", "policy"), [(randaugment, RandAugment), (augmix, AugMix)])
def test_policies_follow_crops_and_flips(pipeline, policy):
    warp, last = pipeline((24, 32), 3)
    assert isinstance(last, policy) and last.p == 1 and (warp.hflip, warp.size) == (0.5, (24, 32))


@pytest.mark.parametrize("size", [(70, 98), (24, 32), (224, 224)])
def test_gridmask_hides_a_square_of_two_fifths_in_each_cell(size):
    masks = gridmask(size, 3)[1]
    assert masks.p == 0.5
    masks.p, image, counts = 1.0, np.full((*size, 3), 9, np.uint8), set()
    for seed in range(40):
        masks.set_random_seed(seed)
        hidden = (masks(image=image)["image"] == 0).all(2)
        counts.add(len(masks.params["holes"]))
        assert 0.06 < hidden.mean() <= 0.16  # 0.4 of 0.4, where whole pixels allow it
    assert min(counts) >= 4 and max(counts) >= 20


def test_spectrograms_lose_at_most_two_bands_and_two_spans():
    size, image = (80, 200), np.full((80, 200, 1), 9, np.uint8)
    counts, augmentation = set(), Augmentation("spectrogram", seed=1, size=size, channels=1)
    for position in range(200):
        hidden = augmentation(image, epoch=0, position=position)[:, :, 0] == 0
        rows, columns = hidden.all(1), hidden.all(0)
        if rows.all() or columns.all():
            continue
        np.testing.assert_array_equal(hidden, rows[:, None] | columns[None])
        assert rows.sum() <= 2 * 27 and columns.sum() <= 2 * 20
        counts.add((int(rows.sum()), int(columns.sum())))
    assert len(counts) > 100
