"""Names of folders that hold a part of a competition's images, such as `train` or `Test_images`: never labels."""

from __future__ import annotations

import re

TRAINING = frozenset(("train", "training"))
VALIDATION = frozenset(("val", "valid", "validation"))
TEST = frozenset(("test", "testing"))
# Of pictures that belong to images and are called alike, but are none to learn from.
BESIDE_IMAGES = frozenset(
    ("mask", "annotation", "label", "segmentation", "seg", "gt", "groundtruth", "depth", "thumb", "thumbnail")
)
# What else such a name may hold; where there is any other word, as in `train station`, it may be a label.
_BESIDE = re.compile(
    r"(images?|imgs?|data|datasets?|sets?|pictures?|pics?|photos?|files?|folders?|jpe?gs?|pngs?|tiles?|crops?|stage|part"
    r"|all|new|hidden|public|private)"
)
_JOINED = re.compile(rf"({'|'.join(TRAINING | VALIDATION | TEST)})({_BESIDE.pattern})")  # such as `testset`
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+")


def _words(name: str) -> list[str]:
    """The words of a name in small letters, `TestImages_2` as `test` and `images`."""
    words: list[str] = []
    for word in _WORD.findall(name):
        joined = _JOINED.fullmatch(word.lower())
        words += joined.groups()[:2] if joined else [word.lower()]
    return words


def is_part(name: str) -> bool:
    """Whether a folder's name says that it is the training, validation or test part of the images, and nothing else."""
    words = _words(name)
    parts = [word for word in words if word in TRAINING | VALIDATION | TEST]
    return bool(parts) and all(word in parts or _BESIDE.fullmatch(word) for word in words)


def is_training(name: str) -> bool:
    """Whether a word in the name of a folder or table says that it is for training."""
    return not TRAINING.isdisjoint(_words(name))


def is_test(name: str) -> bool:
    """Whether a word in the name of a folder or table says that it is for testing."""
    return not TEST.isdisjoint(_words(name))


def is_held_out(path: str) -> bool:
    """Whether a word in a path says that what lies there is not for training."""
    return not (VALIDATION | TEST).isdisjoint(_words(path))


def is_beside_images(path: str) -> bool:
    """Whether a word in a path says that what lies there belongs to images, as masks do, and is none itself."""
    return any(word.removesuffix("s") in BESIDE_IMAGES for word in _words(path))


def is_within(inner: str, folder: str) -> bool:
    """Return whether a folder is another one, or lies below it."""
    return folder in (inner, ".") or inner.startswith(f"{folder}/")
