"""Random numbers that make each draw of an augmentation a function of its position."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import numpy as np

from imettk.config.choices import AUGMENTATIONS, Choice
from imettk.config.transforms import build
from imettk.data.sampling import derive_seed
from imettk.data.warp import A, Warp


class Augmentation:
    """A pipeline whose draw for a sample depends only on (seed, epoch, position).

    Args:
        pipeline: a row of AUGMENTATIONS or its name, or a user's own.
        size: (height, width) of the result in pixels.
        channels: number of channels of the images.
        transforms: after those of the pipeline, as text; see `StageConfig.transforms`.
        erasing: share of the images in which a random rectangle is erased (random erasing, arXiv 1708.04896).
    """

    def __init__(
        self,
        pipeline: str | Choice,
        *,
        seed: int,
        size: tuple[int, int],
        channels: int = 3,
        transforms: tuple[str, ...] = (),
        erasing: float = 0.0,
    ) -> None:
        settings: dict[str, Any] = {"seed": seed, "size": size, "channels": channels}
        self._made_of = pipeline, settings | {"transforms": transforms, "erasing": erasing}  # for `__reduce__`
        self._seed = seed
        row = AUGMENTATIONS[pipeline] if isinstance(pipeline, str) else pipeline
        steps = [*row.load()(size, channels), *(build(text, size=size) for text in transforms)]
        if erasing:  # last, on the final pixels: later transforms would blend the rectangle into the image
            steps.append(A.Erasing(scale=(0.02, 0.33), ratio=(0.3, 3.3), fill="random_uniform", p=erasing))
        # A leading warp is called directly: albumentations needs 70 us to call a transform, while mirroring an image
        # takes 20.
        self._warp = steps.pop(0) if steps and isinstance(steps[0], Warp) else None
        self._compose = A.Compose(steps) if steps else None
        # One generator of each kind is handed over once and reset in place for each sample: 7 us instead of 221 with
        # `Compose.set_random_seed`.
        self._bits = np.random.Philox(key=0)
        self._fresh = self._bits.state
        self._python = random.Random()
        generator = np.random.Generator(self._bits)
        for part in (self._warp, self._compose):
            if part is not None:
                part.set_random_state(generator, self._python)

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild it in the other process, which may not find a user's own transforms by name."""
        pipeline, settings = self._made_of
        return partial(Augmentation, pipeline, **settings), ()

    def __call__(self, image: np.ndarray, *, epoch: int, position: int) -> np.ndarray:
        """Return the augmented image, uint8 (H, W, channels); it has the pipeline's size if that includes a warp."""
        if self._warp is None and self._compose is None:
            return image
        key = derive_seed(self._seed, epoch, position)
        self._python.seed(key)
        if self._compose is not None:  # a warp draws only from Python's generator, so the reset can be saved
            self._fresh["state"]["key"][:] = (key, 0)
            self._bits.state = self._fresh
        if self._warp is not None:
            image = self._warp.apply(image, **self._warp.draw(image.shape))
        return image if self._compose is None else self._compose(image=image)["image"]
