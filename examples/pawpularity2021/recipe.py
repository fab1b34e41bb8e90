"""PetFinder.my Pawpularity 2021: the appeal of a pet's photo, a number from 1 to 100, RMSE.

The built-in recipe `pawpularity2021` with a Swin in place of the BEiT, and five folds in place of ten.
"""

from dataclasses import replace

from imettk.config import Recipe
from imettk.recipes.pawpularity2021 import pawpularity2021


def recipe() -> Recipe:
    """Return the recipe of a Swin-Large at 224 pixels: cross-entropy on scores, five folds of five epochs."""
    base = pawpularity2021()
    return replace(
        base,
        name="pawpularity-first",
        folds=replace(base.folds, num_folds=5),
        model=replace(base.model, backbone="timm:swin_large_patch4_window7_224.ms_in22k_ft_in1k", weights="weights"),
    )
