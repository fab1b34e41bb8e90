"""Named augmentation pipelines, and the random numbers that make each draw a function of its position."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from imettk.data.sampling import derive_seed

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations 2.0.8 calls home when imported
import albumentations as A


def _none() -> list[Any]:
    return []


def _flips() -> list[Any]:
    return [A.HorizontalFlip(p=0.5)]


def _affine() -> list[Any]:
    """For what must stay upright, such as digits: small shifts, turns, changes of scale and light."""
    return [
        A.Affine(scale=(0.85, 1.15), rotate=(-10, 10), translate_percent=(-0.06, 0.06), p=1.0),
        A.RandomBrightnessContrast(p=0.5),
    ]


PIPELINES: dict[str, Callable[[], list[Any]]] = {"none": _none, "flips": _flips, "affine": _affine}


class Augmentation:
    """A named pipeline whose draw for a sample depends on (seed, epoch, position) and on nothing else."""

    def __init__(self, name: str, *, seed: int) -> None:
        self._seed = seed
        transforms = PIPELINES[name]()
        self._compose = A.Compose(transforms) if transforms else None
        # One generator of each kind, handed over once and then reset in place for each sample: 7 us, where
        # `Compose.set_random_seed` takes 221.
        self._bits = np.random.Philox(key=0)
        self._fresh = self._bits.state
        self._python = random.Random()
        if self._compose is not None:
            self._compose.set_random_state(np.random.Generator(self._bits), self._python)

    def __call__(self, image: np.ndarray, *, epoch: int, position: int) -> np.ndarray:
        """Augment one image, uint8 (H, W, channels); the result has the same shape."""
        if self._compose is None:
            return image
        key = derive_seed(self._seed, epoch, position)
        self._fresh["state"]["key"][:] = (key, 0)
        self._bits.state = self._fresh
        self._python.seed(key)
        return self._compose(image=image)["image"]
