"""The shared generators draw what fresh ones would draw for each sample, in every pipeline."""

import pickle
import random
import subprocess
import sys

import albumentations as A
import numpy as np
import pytest

from imettk.config.choices import AUGMENTATIONS, Choice
from imettk.config.own import refer, running
from imettk.data.augment import Augmentation
from imettk.data.sampling import derive_seed
from imettk.data.warp import Warp

SIZE = (24, 32)
PLACES = [(epoch, position) for epoch in range(3) for position in range(6)]


def flips_and_noise(size, channels):
    return [A.HorizontalFlip(), A.GaussNoise(p=1.0)]


@pytest.fixture(autouse=True)
def noise(monkeypatch):
    """Return a pipeline that draws from NumPy's generator; most others draw from Python's."""
    monkeypatch.setitem(AUGMENTATIONS, "noise", Choice(make=flips_and_noise))


NAMES = tuple(AUGMENTATIONS)


def augmentation_of(name, channels=3, seed=7, size=SIZE):
    return Augmentation(name, seed=seed, size=size, channels=channels, erasing=0.3 if name == "flips" else 0.0)


def image_of(channels):
    return np.random.default_rng(channels).integers(0, 256, (24, 32, channels), np.uint8)


def draw(augmentation, channels, places):
    return {(e, p): augmentation(image_of(channels), epoch=e, position=p) for e, p in places}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for place, image in one.items():
        np.testing.assert_array_equal(image, other[place])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", [*NAMES[1:], "noise"])
def test_pixels_equal_a_plain_pipeline_with_fresh_generators(name, channels):
    ours = draw(Augmentation(name, seed=7, size=SIZE, channels=channels), channels, PLACES)
    theirs = {}
    for epoch, position in PLACES:
        key = derive_seed(7, epoch, position)
        generator, numbers, image = (
            np.random.Generator(np.random.Philox(key=key)),
            random.Random(key),
            image_of(channels),
        )
        transforms = AUGMENTATIONS[name].load()(SIZE, channels)
        if isinstance(transforms[0], Warp):
            warp = transforms.pop(0)
            warp.set_random_state(generator, numbers)
            image = warp.apply(image, **warp.draw(image.shape))
        compose = A.Compose(transforms)
        compose.set_random_state(generator, numbers)
        theirs[epoch, position] = compose(image=image)["image"]
    assert_same(ours, theirs)
    assert all(image.shape == (24, 32, channels) and image.dtype == np.uint8 for image in ours.values())


@pytest.mark.parametrize("name", [*NAMES[1:], "noise"])
def test_the_order_of_calls_does_not_matter(name):
    augmentation = augmentation_of(name)
    assert_same(draw(augmentation, 3, PLACES), dict(sorted(draw(augmentation, 3, PLACES[::-1]).items())))


def test_global_seeds_do_not_matter():
    augmentation = augmentation_of("affine")
    results = []
    for seed in (0, 1):
        random.seed(seed)
        np.random.seed(seed)
        results.append(draw(augmentation, 3, PLACES))
    assert_same(*results)


@pytest.mark.parametrize("name", [*NAMES, "noise"])
def test_a_pickled_copy_draws_the_same(name):
    """Loader workers get a pickled copy on platforms that spawn processes instead of forking."""
    augmentation = augmentation_of(name)
    assert_same(draw(augmentation, 3, PLACES), draw(pickle.loads(pickle.dumps(augmentation)), 3, PLACES))


def test_epochs_positions_and_seeds_differ():
    images = [*draw(augmentation_of("affine"), 3, PLACES).values()]
    images += draw(augmentation_of("affine", seed=8), 3, PLACES).values()
    assert len({image.tobytes() for image in images}) == len(images)


def test_flips_are_half_of_the_draws_and_nothing_else_happens():
    image, augmentation = image_of(3), Augmentation("flips", seed=1, size=SIZE)
    num_flipped = 0
    for position in range(400):
        result = augmentation(image, epoch=0, position=position)
        flipped = np.array_equal(result, image[:, ::-1])
        assert flipped or np.array_equal(result, image)
        num_flipped += flipped
    assert 150 < num_flipped < 250  # 5 standard deviations


def test_none_gives_the_image_back():
    np.testing.assert_array_equal(
        Augmentation("none", seed=1, size=SIZE)(image_of(3), epoch=0, position=0), image_of(3)
    )


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("size", [(24, 32), (16, 16), (40, 20)])
def test_every_pipeline_gives_its_size_from_a_larger_image(name, size):
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    for position in range(12):
        result = augmentation_of(name, size=size)(image, epoch=0, position=position)
        assert result.shape == (*size, 3) and result.dtype == np.uint8


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


def test_erasing_takes_one_rectangle_from_its_share_of_the_images():
    augmentation = Augmentation("none", seed=1, size=SIZE, erasing=0.5)
    image = np.full((24, 32, 3), 7, np.uint8)
    erased = 0
    for position in range(200):
        changed = (augmentation(image, epoch=0, position=position) != 7).any(2)
        if changed.any():
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            area = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
            assert changed.sum() > 0.95 * area and area <= 0.4 * 24 * 32
            erased += 1
    assert 70 < erased < 130


OWN = """
import albumentations as A

class Darker(A.ImageOnlyTransform):
    def apply(self, img, **params):
        return img // 2

def mine(size, channels):
    return [A.HorizontalFlip(p=0.5), Darker(p=1.0)]
"""


def test_a_users_own_transforms_are_made_anew_in_another_process(tmp_path):
    """The other process cannot find their class by name."""
    (tmp_path / "mine.py").write_text(OWN)
    with running(tmp_path / "mine.py") as (sha256, _):
        ours = Augmentation(Choice(make=refer("recipe:mine", sha256)), seed=7, size=SIZE)
    (tmp_path / "sent").write_bytes(pickle.dumps((ours, image_of(3))))
    code = """
import pickle, sys
import numpy as np
augmentation, image = pickle.load(open(sys.argv[1], "rb"))
np.save(sys.argv[2], np.stack([augmentation(image, epoch=1, position=place) for place in range(8)]))
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "sent", tmp_path / "made.npy"], check=True)
    draws = np.stack([ours(image_of(3), epoch=1, position=place) for place in range(8)])
    np.testing.assert_array_equal(np.load(tmp_path / "made.npy"), draws)
    assert (draws == image_of(3) // 2).all((1, 2, 3)).any()
