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
from imettk.config.transforms import BASES, WITHHELD
from imettk.data.augment import Augmentation
from imettk.data.auto_augment import AugMix
from imettk.data.sampling import derive_seed
from imettk.data.warp import Warp
from imettk.errors import ConfigError

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


TEXTS = (
    "RandomResizedCrop(scale=(0.3, 1))",
    "OneOf([MotionBlur(5), GaussNoise()], p=0.7)",
    "AugMix()",
    "Affine(rotate=9)",
)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_transforms_as_text_are_albumentations_own_after_the_pipelines(channels):
    ours = Augmentation("flips", seed=7, size=SIZE, channels=channels, transforms=TEXTS, erasing=0.5)
    crop = A.RandomResizedCrop(SIZE, scale=(0.3, 1))
    blur = A.OneOf([A.MotionBlur(5), A.GaussNoise()], p=0.7)
    erasing = A.Erasing(scale=(0.02, 0.33), ratio=(0.3, 3.3), fill="random_uniform", p=0.5)
    for epoch, position in PLACES:
        key = derive_seed(7, epoch, position)
        generator, numbers = np.random.Generator(np.random.Philox(key=key)), random.Random(key)
        flip, plain = Warp(SIZE, hflip=0.5), A.Compose([crop, blur, AugMix(), A.Affine(rotate=9), erasing])
        for part in (flip, plain):
            part.set_random_state(generator, numbers)
        image = image_of(channels)
        expected = plain(image=flip.apply(image, **flip.draw(image.shape)))["image"]
        np.testing.assert_array_equal(ours(image, epoch=epoch, position=position), expected)


NO_ARGUMENTS = [
    name
    for name, kind in vars(A).items()
    if isinstance(kind, type) and issubclass(kind, A.BasicTransform) and name not in BASES | WITHHELD
]


def test_whatever_albumentations_has_draws_by_position_alone():
    """Those that need an argument, a box, a mask or a volume are passed over."""
    num_drawn = 0
    for name in NO_ARGUMENTS:
        try:
            one, other = (Augmentation("none", seed=7, size=SIZE, transforms=(f"{name}(p=0.8)",)) for _ in range(2))
            forward = draw(one, 3, PLACES[:4])
        except (ConfigError, KeyError, ValueError, UserWarning):
            continue
        assert_same(forward, dict(sorted(draw(other, 3, PLACES[3::-1]).items())))
        num_drawn += 1
    assert num_drawn > 80


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
        ours = Augmentation(Choice(make=refer("recipe:mine", sha256)), seed=7, size=SIZE, transforms=TEXTS[1:])
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
    assert len({draw.tobytes() for draw in draws}) == len(draws)
