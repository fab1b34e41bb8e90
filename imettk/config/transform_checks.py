"""Try the transforms that a recipe gives as text once, on images of the recipe's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imettk.config.recipe import Recipe
from imettk.config.transforms import build, one_line, quoting, strict_warnings
from imettk.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

DRAWS = 4  # trials of each transform, which is random


def check_transforms(recipe: Recipe) -> None:
    """Raise `ConfigError` if a stage's transforms cannot be made, or do not take the recipe's images.

    Recipes without transforms import nothing heavy.
    """
    images = recipe.images
    for number, stage in enumerate(recipe.stages):
        if not stage.transforms:
            continue
        import numpy as np

        size = stage.image_size or images.image_size
        # A row of AUGMENTATIONS before them leaves images in the stage's size, and `none` in that of the cache.
        shape = (images.load_size or images.image_size) if stage.augmentation == "none" else size
        image = np.random.default_rng(0).integers(0, 256, (*shape, images.channels), np.uint8)
        try:
            for text in stage.transforms:
                transform = build(text, size=size)
                with quoting(text):
                    image = _try(transform, image)
        except ConfigError as error:
            raise ConfigError(f"`stages.{number}.transforms` {error}") from None


def _try(transform: Any, image: np.ndarray) -> np.ndarray:
    """Apply a transform, and all that it holds, whatever their probabilities; return the last image.

    Raises:
        ConfigError: one of them raises or warns, or returns another kind of image.
    """
    import albumentations as A

    if isinstance(transform, A.BaseCompose):
        in_turn, result = isinstance(transform, A.Sequential | A.Compose), image
        for inner in transform.transforms:  # one of these follows the other, or else each may be the only one
            result = _try(inner, result if in_turn else image)
        return result
    transform.p = 1.0
    transform.set_random_seed(0)
    for _ in range(DRAWS):
        result = _apply(transform, image)
    return result


def _apply(transform: Any, image: np.ndarray) -> np.ndarray:
    name, shape = type(transform).__name__, f"{image.dtype} {image.shape}"
    try:
        with strict_warnings():
            result: np.ndarray = transform(image=image)["image"]
    except Exception as error:
        raise ConfigError(f"{name} does not take images {shape}: {one_line(error)}") from None
    form = getattr(result, "dtype", type(result).__name__), tuple(getattr(result, "shape", ()))
    if form[0] != image.dtype or form[1][2:] != image.shape[2:]:
        raise ConfigError(f"{name} must return images of uint8 (H, W, {image.shape[2]}), got {form[0]} {form[1]}")
    return result
