"""iMet Collection 2019: 1,103 attributes of artworks, F2 over samples.

The built-in recipe `imet2019` with pretrained weights, five folds in place of ten, and half the epochs.
"""

from dataclasses import replace

from imettk.config import Recipe
from imettk.recipes.imet2019 import imet2019


def recipe() -> Recipe:
    """Return the recipe of an SE-ResNeXt-50 at 256 pixels: the head first, then all layers for five epochs."""
    base = imet2019()
    head, whole = base.stages
    return replace(
        base,
        name="imet-first",
        folds=replace(base.folds, num_folds=5),
        images=replace(base.images, image_size=(256, 256)),
        model=replace(base.model, weights="weights"),
        stages=(head, replace(whole, num_epochs=5, warmup_epochs=1)),
    )
