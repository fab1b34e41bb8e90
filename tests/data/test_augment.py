"""The shared generators give what fresh ones would, for each sample by itself."""

import pickle
import random

import albumentations as A
import numpy as np
import pytest

from imettk.data.augment import PIPELINES, Augmentation
from imettk.data.sampling import derive_seed

PLACES = [(epoch, position) for epoch in range(3) for position in range(6)]


@pytest.fixture(autouse=True)
def noise(monkeypatch):
    """A pipeline that draws from numpy's generator; the transforms of the others draw from Python's."""
    monkeypatch.setitem(PIPELINES, "noise", lambda: [A.HorizontalFlip(), A.GaussNoise(p=1.0)])


def image_of(channels):
    return np.random.default_rng(channels).integers(0, 256, (24, 32, channels), np.uint8)


def draw(augmentation, channels, places):
    return {(e, p): augmentation(image_of(channels), epoch=e, position=p) for e, p in places}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for place, image in one.items():
        np.testing.assert_array_equal(image, other[place])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["flips", "affine", "noise"])
def test_pixels_equal_a_plain_compose_with_fresh_generators(name, channels):
    ours = draw(Augmentation(name, seed=7), channels, PLACES)
    theirs = {}
    for epoch, position in PLACES:
        key = derive_seed(7, epoch, position)
        compose = A.Compose(PIPELINES[name]())
        compose.set_random_state(np.random.Generator(np.random.Philox(key=key)), random.Random(key))
        theirs[epoch, position] = compose(image=image_of(channels))["image"]
    assert_same(ours, theirs)
    assert all(image.shape == (24, 32, channels) and image.dtype == np.uint8 for image in ours.values())


@pytest.mark.parametrize("name", ["affine", "noise"])
def test_the_order_of_calls_does_not_matter(name):
    augmentation = Augmentation(name, seed=7)
    assert_same(draw(augmentation, 3, PLACES), dict(sorted(draw(augmentation, 3, PLACES[::-1]).items())))


def test_global_seeds_do_not_matter():
    augmentation = Augmentation("affine", seed=7)
    results = []
    for seed in (0, 1):
        random.seed(seed)
        np.random.seed(seed)
        results.append(draw(augmentation, 3, PLACES))
    assert_same(*results)


@pytest.mark.parametrize("name", ["affine", "noise"])
def test_a_pickled_copy_draws_the_same(name):
    """Loader workers get one wherever processes are spawned, not forked."""
    augmentation = Augmentation(name, seed=7)
    assert_same(draw(augmentation, 3, PLACES), draw(pickle.loads(pickle.dumps(augmentation)), 3, PLACES))


def test_epochs_positions_and_seeds_differ():
    images = [*draw(Augmentation("affine", seed=7), 3, PLACES).values()]
    images += draw(Augmentation("affine", seed=8), 3, PLACES).values()
    assert len({image.tobytes() for image in images}) == len(images)


def test_flips_are_half_of_the_draws_and_nothing_else_happens():
    image, augmentation = image_of(3), Augmentation("flips", seed=1)
    num_flipped = 0
    for position in range(400):
        result = augmentation(image, epoch=0, position=position)
        flipped = np.array_equal(result, image[:, ::-1])
        assert flipped or np.array_equal(result, image)
        num_flipped += flipped
    assert 150 < num_flipped < 250  # 5 standard deviations


def test_none_gives_the_image_back():
    np.testing.assert_array_equal(Augmentation("none", seed=1)(image_of(3), epoch=0, position=0), image_of(3))
