"""Names of folders that are a part of the data, such as `train` or `Test_images`, and therefore not labels."""

from __future__ import annotations

import re

TRAINING = frozenset(("train", "training"))
VALIDATION = frozenset(("val", "valid", "validation"))
TEST = frozenset(("test", "testing"))
# Companions of images with the same names, which are not images to learn from.
BESIDE_IMAGES = frozenset(
    ("mask", "annotation", "label", "segmentation", "seg", "gt", "groundtruth", "depth", "thumb", "thumbnail")
)
# Words that may accompany such a name; with any other word, as in `train station`, it may be a label.
_BESIDE = re.compile(
    r"(images?|imgs?|data|datasets?|sets?|pictures?|pics?|photos?|files?|folders?|jpe?gs?|pngs?|tiles?|crops?|stage|part"
    r"|all|new|hidden|public|private)"
)
_JOINED = re.compile(rf"({'|'.join(TRAINING | VALIDATION | TEST)})({_BESIDE.pattern})")  # such as `testset`
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+")


def _words(name: str) -> list[str]:
    """Split a name into lower-case words: `TestImages_2` into `test` and `images`."""
    words: list[str] = []
    for word in _WORD.findall(name):
        joined = _JOINED.fullmatch(word.lower())
        words += joined.groups()[:2] if joined else [word.lower()]
    return words


def is_part(name: str) -> bool:
    """Return whether a folder's name means a part of the data (training, validation or test), and nothing else."""
    words = _words(name)
    parts = [word for word in words if word in TRAINING | VALIDATION | TEST]
    return bool(parts) and all(word in parts or _BESIDE.fullmatch(word) for word in words)


def is_training(name: str) -> bool:
    """Return whether a word in the name of a folder or table means training."""
    return not TRAINING.isdisjoint(_words(name))


def is_test(name: str) -> bool:
    """Return whether a word in the name of a folder or table means testing."""
    return not TEST.isdisjoint(_words(name))


def is_held_out(path: str) -> bool:
    """Return whether a word in a path means validation or testing."""
    return not (VALIDATION | TEST).isdisjoint(_words(path))


def is_beside_images(path: str) -> bool:
    """Return whether a word in a path means companions of images, such as masks."""
    return any(word.removesuffix("s") in BESIDE_IMAGES for word in _words(path))


def is_within(inner: str, folder: str) -> bool:
    """Return whether a folder is another one or lies below it."""
    return folder in (inner, ".") or inner.startswith(f"{folder}/")
