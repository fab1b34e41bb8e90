"""Gaussian noise from a bank that is drawn once: drawing every value again, as albumentations does, takes 40% of a
heavy pipeline."""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np

from imettk.data.warp import A

_SPREAD = 30.0  # standard deviation of the bank in its own units: 4.2 of them fit into a byte
_BANK_SIZE = 1 << 22


@functools.cache
def _bank() -> np.ndarray:
    """Return independent normal numbers around 128, uint8 (2^22,), the same in every process."""
    numbers = np.random.Generator(np.random.Philox(key=1)).standard_normal(_BANK_SIZE, np.float32)
    return np.clip(np.rint(numbers * _SPREAD + 128), 0, 255).astype(np.uint8)


class Noise(A.ImageOnlyTransform):
    """Adds independent normal noise to every value: a random stretch of the bank, scaled.

    Args:
        std: range of the standard deviation, as a fraction of 255.
    """

    def __init__(self, std: tuple[float, float], *, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.std = std

    def get_params(self) -> dict[str, Any]:
        """Draw the position in the bank and the strength."""
        return {"place": self.py_random.random(), "strength": self.py_random.uniform(*self.std) * 255 / _SPREAD}

    def apply(self, img: np.ndarray, place: float, strength: float, **params: Any) -> np.ndarray:
        """Add noise to an image, uint8; values are clipped to 0 and 255."""
        bank = _bank()
        if img.size > len(bank) // 2:  # a large image reads the bank several times, from different positions
            bank = np.resize(bank, 2 * img.size)
        first = int(place * (len(bank) - img.size))
        noise = bank[first : first + img.size].reshape(img.shape)
        # One call adds, removes the bank's offset of 128 and clips, without a float copy of the image.
        return cv2.addWeighted(img, 1.0, noise, strength, -128 * strength).reshape(img.shape)
