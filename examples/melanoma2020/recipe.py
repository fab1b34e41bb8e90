"""SIIM-ISIC Melanoma Classification 2020: the probability that a mole is a melanoma, ROC AUC.

The built-in recipe `melanoma2020` without external images: as Kaggle ships the tables, and half the area.
"""

from dataclasses import replace

from imettk.config import Recipe
from imettk.recipes.melanoma2020 import melanoma2020


def recipe() -> Recipe:
    """Return the recipe of an EfficientNet-B4 at 320 pixels: diagnoses of 2020 only, eight epochs, five folds."""
    base = melanoma2020()
    return replace(
        base,
        name="melanoma-first",
        table=replace(base.table, extra=()),
        images=replace(base.images, image_size=(320, 320), load_size=(384, 384)),
        model=replace(base.model, backbone="timm:tf_efficientnet_b4.ns_jft_in1k", weights="weights"),
        stages=(replace(base.stages[0], num_epochs=8),),
    )
