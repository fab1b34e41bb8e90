"""`prepare --show-augmentation`: draw the images that a network will see, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.config.choices import AUGMENTATIONS
from imettk.config.fits import choice_of
from imettk.config.own import is_own
from imettk.data.augment import Augmentation
from imettk.data.reader import resize, visible
from imettk.data.source import ImageSource
from imettk.data.table import read_table
from imettk.errors import ConfigError, DataError
from imettk.experiment.network_check import check_network
from imettk.experiment.value_range import reader_of
from imettk.pictures.plots import draw_images
from imettk.progress import say
from imettk.tracking.run_dir import RunDir

NUM_IMAGES, NUM_DRAWS = 6, 8
PICTURE = "augmentation.png"


def show_augmentation(recipe: Recipe, data_dir: Path, run: RunDir, names: Sequence[str]) -> None:
    """Write `augmentation.png`: in each row an image, and beside it 8 draws of each pipeline.

    The draws are those of the first epoch, with the recipe's seed.

    Args:
        names: names of pipelines; empty takes those of the recipe's stages, with their transforms.

    Raises:
        ConfigError: there is no such pipeline.
        DataError: no image can be read, or one cannot and the recipe does not skip such images.
    """
    shown = _choose(recipe, names)
    table = read_table(recipe.table, data_dir)
    check_network(recipe, len(table.labels))
    source = ImageSource(table, reader_of(recipe, run))
    size, erasing = recipe.images.image_size, max(stage.erasing for stage in recipe.stages)
    pipelines = {
        heading: Augmentation(
            choice_of(recipe, name, AUGMENTATIONS),
            seed=recipe.train.seed,
            size=size,
            channels=source.channels,
            transforms=transforms,
            erasing=erasing,
        )
        for (name, transforms), heading in shown.items()
    }
    rows = []
    for position, row in enumerate(np.linspace(0, len(table) - 1, min(NUM_IMAGES, len(table))).astype(int)):
        try:
            image = source.read(int(row))
        except DataError as error:
            if recipe.images.on_bad_image == "error":
                raise
            say(f"note: skipped {error}")
            continue
        draws = [
            pipeline(image, epoch=0, position=position + NUM_IMAGES * number)
            for pipeline in pipelines.values()
            for number in range(NUM_DRAWS)
        ]
        rows.append([visible(resize(shown, size, fast=True)) for shown in (image, *draws)])
    if not rows:
        raise DataError("none of the images to show can be read: `imettk prepare` lists the faults")
    columns = ["original", *(name if number == 0 else "" for name in pipelines for number in range(NUM_DRAWS))]
    draw_images(run.path / PICTURE, rows, columns)
    say(f"{len(rows)} images and {NUM_DRAWS} draws of {', '.join(pipelines)}: {run.path / PICTURE}")


def _choose(recipe: Recipe, names: Sequence[str]) -> dict[tuple[str, tuple[str, ...]], str]:
    """Return the heading of each pipeline to draw, a name and transforms: of these names, or of the recipe's stages."""
    for name in names:
        if name not in AUGMENTATIONS and not is_own(name):
            raise ConfigError(
                f"--show-augmentation must be one of {', '.join(AUGMENTATIONS)}, or your own as recipe:name, got "
                f"{name!r}"
            )
    shown: dict[tuple[str, tuple[str, ...]], str] = {(name, ()): name for name in names}
    for number, stage in enumerate(() if names else recipe.stages):
        heading = f"{stage.augmentation} and stages.{number}.transforms" if stage.transforms else stage.augmentation
        shown.setdefault((stage.augmentation, stage.transforms), heading)
    return shown
