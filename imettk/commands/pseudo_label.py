"""`pseudo`: test rows of which models are sure, written as one more table to train on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imettk.config import ExtraTable, Recipe
from imettk.errors import ConfigError, MissingFileError
from imettk.evaluation.judge import judge_of
from imettk.evaluation.pseudo import PSEUDO, PSEUDO_CSV
from imettk.tracking.run_dir import RunDir


def pseudo(recipe: Recipe, run: RunDir, *, confidence: float, hard: bool = False) -> None:
    """Write `pseudo.csv`, in the format of the training table, and `pseudo.safetensors`, what each fold is to learn.

    The predictions of a fold come from the models that have not seen its validation rows, and so does the choice of the
    rows: a validation score stays what it is. The csv holds every row that any fold is sure of, with the labels that
    most of these folds give it.

    Args:
        confidence: see `row_confidence`, `rank_confidence` and, for numbers, `agreement`; in [0.5, 1). Where neighbours
            decide, similarity to the nearest image.
        hard: learn the answers, as is always done where neighbours decide; else the probabilities.

    Raises:
        ConfigError: the confidence is out of range, the rule gives no confidence, or only one fold predicted numbers.
        MissingFileError: no fold has predicted the test set, or there is no rule.
    """
    if not 0.5 <= confidence < 1:
        raise ConfigError(f"--confidence must be in [0.5, 1), got {confidence:g}")
    judge_of(recipe).pseudo_labels(run, confidence=confidence, hard=hard)


def add_pseudo_table(recipe: Recipe, folder: Path, weight: float) -> Recipe:
    """Return the recipe with what `pseudo` wrote in this folder as one more table.

    Raises:
        MissingFileError: the folder holds no pseudo labels.
    """
    for name in (PSEUDO_CSV, PSEUDO):
        if not (folder / name).is_file():
            raise MissingFileError(f"--pseudo: {folder / name} is missing: run `imettk pseudo` first, which writes it")
    folder = folder.absolute()
    extra = ExtraTable(
        csv=str(folder / PSEUDO_CSV),
        images=recipe.table.test_images,
        weight=weight,
        predictions=str(folder / PSEUDO),
    )
    # The option may be given again to a run that has it in its recipe already.
    others = tuple(table for table in recipe.table.extra if table.predictions != extra.predictions)
    return replace(recipe, table=replace(recipe.table, extra=(*others, extra)))
