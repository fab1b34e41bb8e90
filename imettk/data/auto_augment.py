"""Random policies of simple operations: RandAugment and AugMix."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from imettk.data.image_ops import OPERATIONS
from imettk.data.warp import A

MOST = 10.0  # magnitudes and severities are tenths of an operation's range


class Step(NamedTuple):
    """An operation by its name, and its strength."""

    name: str
    strength: float


def _apply(image: np.ndarray, steps: list[Step]) -> np.ndarray:
    for name, strength in steps:
        image = OPERATIONS[name].apply(image, strength)
    return image


class _Policy(A.ImageOnlyTransform):
    """Base of transforms that draw operations; all draws are from Python's generator."""

    def _draw(self, names: list[str], strength: float) -> Step:
        """Draw one of these operations, and its direction."""
        name = self.py_random.choice(names)
        backward = OPERATIONS[name].signed and self.py_random.random() < 0.5
        return Step(name, -strength if backward else strength)


class RandAugment(_Policy):
    """Applies a few operations of equal strength, each drawn from fourteen (arXiv 1909.13719).

    Strengths rise with the magnitude from no change, as in timm's `inc1`; the paper's code begins some of them at full
    strength. Images that are not RGB have no operation on colours.

    Args:
        num_ops: operations that are applied to an image, one after another.
        magnitude: strength of each, in [0, 10].
    """

    def __init__(self, num_ops: int = 2, magnitude: float = 9.0, p: float = 1.0) -> None:
        super().__init__(p=p)
        if num_ops < 1:
            raise ValueError(f"`num_ops` must be at least 1, got {num_ops}")
        if not 0 <= magnitude <= MOST:
            raise ValueError(f"`magnitude` must be in [0, {MOST:g}], got {magnitude}")
        self.num_ops, self.magnitude = num_ops, magnitude

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the operations of an image."""
        coloured = params["shape"][2:] == (3,)
        names = [name for name, operation in OPERATIONS.items() if coloured or not operation.coloured]
        return {"steps": [self._draw(names, self.magnitude / MOST) for _ in range(self.num_ops)]}

    def apply(self, img: np.ndarray, steps: list[Step], **params: Any) -> np.ndarray:
        """Apply them."""
        return _apply(img, steps)


class AugMix(_Policy):
    """Mixes an image with chains of operations on it (arXiv 1912.02781, algorithm 1).

    The paper's other half, a loss that compares three views of an image, is no part of it.

    Args:
        severity: largest strength of an operation, in (0, 10].
        width: number of chains.
        depth: largest number of operations in a chain.
        alpha: of the Dirichlet distribution of the chains' weights, and of the Beta distribution of their share.
    """

    def __init__(
        self, severity: float = 3.0, width: int = 3, depth: int = 3, alpha: float = 1.0, p: float = 1.0
    ) -> None:
        super().__init__(p=p)
        if not 0 < severity <= MOST:
            raise ValueError(f"`severity` must be in (0, {MOST:g}], got {severity}")
        if min(width, depth) < 1 or alpha <= 0:
            raise ValueError(f"`width` and `depth` must be at least 1 and `alpha` above 0, got {width, depth, alpha}")
        self.severity, self.width, self.depth, self.alpha = severity, width, depth, alpha

    def get_params(self) -> dict[str, Any]:
        """Draw the chains of an image, their weights, and their share in the result."""
        draw, names = self.py_random, [name for name, operation in OPERATIONS.items() if operation.mild]
        chains = [
            [self._draw(names, draw.uniform(0.1, self.severity) / MOST) for _ in range(draw.randint(1, self.depth))]
            for _ in range(self.width)
        ]
        weights = [draw.gammavariate(self.alpha, 1.0) for _ in chains]  # of their sum, a draw of Dirichlet's
        return {
            "chains": chains,
            "weights": [weight / sum(weights) for weight in weights],
            "share": draw.betavariate(self.alpha, self.alpha),
        }

    def apply(
        self, img: np.ndarray, chains: list[list[Step]], weights: list[float], share: float, **params: Any
    ) -> np.ndarray:
        """Mix the image with its chains."""
        mixed = img.astype(np.float32) * np.float32(1 - share)
        for steps, weight in zip(chains, weights, strict=True):
            mixed = cv2.addWeighted(mixed, 1.0, _apply(img, steps), share * weight, 0, dtype=cv2.CV_32F)
        return np.rint(mixed).astype(np.uint8).reshape(img.shape)
