"""Files of pseudo labels, known by their content: a run folder may move, and its recipe still finds them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imettk.config import ExtraTable, Recipe
from imettk.files import replace_atomically
from imettk.tracking.files import sha256

LEARNED = "learned-"  # how a copy's name begins; `imettk pseudo` never writes over it


def content_of(csv: Path, predictions: Path) -> str:
    """Return 16 hex digits that stand for the two files of pseudo labels."""
    return hashlib.sha256((sha256(csv) + sha256(predictions)).encode()).hexdigest()[:16]


def locate_pseudo(recipe: Recipe, folders: Sequence[Path]) -> Recipe:
    """Return the recipe with the paths of its pseudo labels in the first of these folders that has them.

    Labels that none has, or that an earlier version noted without their content, keep their paths.
    """
    return _with_extra(recipe, tuple(_located(extra, folders) for extra in recipe.table.extra))


def keep_pseudo(recipe: Recipe, folder: Path) -> Recipe:
    """Copy the recipe's pseudo labels into a run folder, unless they are there; return the recipe of the copies."""
    return _with_extra(recipe, tuple(_kept(extra, folder) for extra in recipe.table.extra))


def copy_file(source: Path, target: Path) -> None:
    """Copy a file so that `target` is whole or missing, whenever the process is killed."""
    with replace_atomically(target) as temporary:
        shutil.copyfile(source, temporary)


def _with_extra(recipe: Recipe, extra: tuple[ExtraTable, ...]) -> Recipe:
    return recipe if extra == recipe.table.extra else replace(recipe, table=replace(recipe.table, extra=extra))


def _located(extra: ExtraTable, folders: Sequence[Path]) -> ExtraTable:
    if not extra.content or extra.predictions is None:
        return extra
    for folder in folders:
        csv, predictions = (folder.absolute() / Path(name).name for name in (extra.csv, extra.predictions))
        if csv.is_file() and predictions.is_file() and content_of(csv, predictions) == extra.content:
            return replace(extra, csv=str(csv), predictions=str(predictions))
    return extra


def _kept(extra: ExtraTable, folder: Path) -> ExtraTable:
    if not extra.content or extra.predictions is None or Path(extra.predictions).parent == folder.absolute():
        return extra
    csv, predictions = (
        folder.absolute() / f"{LEARNED}{extra.content}{Path(name).suffix}" for name in (extra.csv, extra.predictions)
    )
    if not Path(extra.csv).is_file() or not Path(extra.predictions).is_file():  # whoever reads them says so
        return extra
    for source, target in ((extra.csv, csv), (extra.predictions, predictions)):
        copy_file(Path(source), target)
    return replace(extra, csv=str(csv), predictions=str(predictions))
