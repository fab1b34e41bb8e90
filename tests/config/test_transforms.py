"""Transforms given as text become what the same call in Python makes, and nothing but such calls is accepted."""

import albumentations as A
import cv2
import numpy as np
import pytest

from imettk.config.transforms import Call, build, parse
from imettk.data.auto_augment import RandAugment
from imettk.data.warp import Warp
from imettk.errors import ConfigError

SIZE = (24, 32)

WRITTEN = {
    "HorizontalFlip(p=0.5)": lambda: A.HorizontalFlip(p=0.5),
    "A.RandomBrightnessContrast(0.2, 0.2)": lambda: A.RandomBrightnessContrast(0.2, 0.2),
    " albumentations.Rotate(limit=(-5, +10), border_mode=cv2.BORDER_REFLECT_101) ": lambda: A.Rotate(
        limit=(-5, 10), border_mode=cv2.BORDER_REFLECT_101
    ),
    "OneOf([MotionBlur(5), GaussNoise()], p=0.3)": lambda: A.OneOf([A.MotionBlur(5), A.GaussNoise()], p=0.3),
    "Affine(scale={'x': (0.8, 1.2), 'y': 1.0}, rotate=-5)": lambda: A.Affine(
        scale={"x": (0.8, 1.2), "y": 1.0}, rotate=-5
    ),
    "SomeOf([Sequential([VerticalFlip(), Blur(3)]), CLAHE(4)], n=1)": lambda: A.SomeOf(
        [A.Sequential([A.VerticalFlip(), A.Blur(3)]), A.CLAHE(4)], n=1
    ),
    "RandomResizedCrop(scale=(0.3, 1), ratio=(3/4, 4/3))": lambda: A.RandomResizedCrop(
        SIZE, scale=(0.3, 1), ratio=(3 / 4, 4 / 3)
    ),
    "RandomResizedCrop((8, 8))": lambda: A.RandomResizedCrop((8, 8)),
    "RandAugment(2, magnitude=5)": lambda: RandAugment(2, magnitude=5),
    "Warp(area=(0.3, 1), hflip=0.5)": lambda: Warp(SIZE, area=(0.3, 1), hflip=0.5),
}


def draw(transform):
    compose = A.Compose([transform], seed=5)
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    return [compose(image=image)["image"] for _ in range(6)]


@pytest.mark.parametrize("text", WRITTEN)
def test_a_text_makes_what_python_makes(text):
    ours, plain = build(text, size=SIZE), WRITTEN[text]()
    assert repr(ours) == repr(plain)
    for one, other in zip(draw(ours), draw(plain), strict=True):
        np.testing.assert_array_equal(one, other)


def test_parsing_keeps_calls_as_data():
    inner = Call("Blur", (3,), {})
    assert parse("OneOf([A.Blur(3)], p=-1/2)") == Call("OneOf", ([inner],), {"p": -0.5})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("HorizontalFlip(", "not valid Python: '(' was never closed"),
        ("", "not valid Python"),
        ("(" * 300 + ")" * 300, "(((...': "),
        ("[Blur()]", "not a call; write it like HorizontalFlip(p=0.5)"),
        ("HorizontalFlip", "`HorizontalFlip` is neither a literal nor a call"),
        ("Blur(p=x)", "`x` is neither a literal nor a call"),
        ("Blur(p=1 + 1)", "`1 + 1` is not a number"),
        ("Blur(p=1 / 0)", "`1 / 0` is not a number"),
        ("Blur(**{'p': 1})", "`**` is neither"),
        ("Blur(p=1, p=0)", "`Blur(p=1, p=0)` gives an argument twice"),
        ("Affine(scale={[1]: 2})", "`{[1]: 2}` is neither"),
        ("Affine(scale={**{}})", "`{**{}}` is neither"),
        ("Blur(\0)", "not valid Python"),
        (f"Blur(p={10**400} / 3)", "not valid Python: integer division result too large"),
        ("Blur(*[3])", "`*[3]` is neither"),
        ("Blur(p=f'{1}')", "`f'{1}'` is neither"),
        ("os.system('true')", "`os.system` is not the name of a transform"),
        ("__import__('os').system('true')", "`__import__('os').system` is not the name of a transform"),
        ("Blur(p=cv2.__class__)", "`cv2.__class__` is neither"),
    ],
)
def test_anything_else_is_refused_in_one_line(text, fault):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert fault in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("HorizontalFip()", "there is no transform HorizontalFip; did you mean HorizontalFlip?"),
        ("Lambda()", "there is no transform Lambda"),
        ("BasicTransform()", "there is no transform BasicTransform"),
        ("open('file')", "there is no transform open"),
        ("HorizontalFlip(q=2)", "HorizontalFlip takes p, got q"),
        ("OneOf([Blur(3)], q=1)", "OneOf takes transforms, p, got q"),
        ("HorizontalFlip(1, 2)", "HorizontalFlip: too many positional arguments"),
        ("HorizontalFlip(p=2)", "HorizontalFlip: p: Input should be less than or equal to 1"),
        ("GaussNoise(std_range=(2, 3))", "std_range: Value error, All values in (2.0, 3.0) must be >= 0 and <= 1"),
        ("RandomCrop()", "RandomCrop: height: Field required; width: Field required"),
        ("LongestMaxSize()", "LongestMaxSize: Value error, Either max_size or"),
        ("MotionBlur(4)", "Non-zero kernel sizes must be odd"),
        ("OneOf([1])", "OneOf: 'int' object has no attribute"),
        ("RandAugment(magnitude=11)", "`magnitude` must be in [0, 10], got 11"),
        ("Affine(border_mode=cv2.NONE_SUCH)", "cv2 has no constant NONE_SUCH"),
    ],
)
def test_wrong_names_and_arguments_are_refused_in_one_line(text, fault):
    with pytest.raises(ConfigError) as caught:
        build(text, size=SIZE)
    assert str(caught.value).startswith(repr(text)) and fault in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["TimeMasking(10)", "ShiftScaleRotate()"])
def test_a_warning_about_a_better_name_is_no_fault(text):
    assert build(text, size=SIZE).p == 0.5
