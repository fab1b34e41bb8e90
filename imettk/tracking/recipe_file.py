"""Where a recipe's own file lies, kept beside a run folder's recipe.json, for commands that are given no RECIPE.

The file is run again only if it is the one that the recipe was made of, and only for the run folder in which this was
written down: never for a copy of it, which somebody else may have made.
"""

from __future__ import annotations

import json
from pathlib import Path

from imettk.config import Recipe, read_recipe
from imettk.config.own import RECIPE, find_source, running
from imettk.config.own_checks import own_names
from imettk.errors import ConfigError
from imettk.files import write_atomically

RECORD = "recipe_source.json"


def remember_source(folder: Path, recipe: Recipe) -> None:
    """Keep where the file of a recipe lies that takes something from it."""
    source = find_source(recipe.source_sha256)
    if source is None or not source.path or not _names(recipe):
        return
    record = {"path": source.path, "sha256": recipe.source_sha256, "folder": folder.stat().st_ino}
    write_atomically(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode())


def recall_source(folder: Path, recipe: Recipe) -> Recipe:
    """Run the file of a recipe that was read from this folder, if it takes something from it.

    Returns:
        The recipe, checked with what stands in its file.

    Raises:
        ConfigError: the file is not there or has changed, or nobody knows where it lies.
    """
    names = _names(recipe)
    if not names or find_source(recipe.source_sha256) is not None:
        return recipe
    what = f"{folder / 'recipe.json'} names {names[0]} of the recipe's own file"
    path = _recorded(folder, recipe)
    if path is None:
        raise ConfigError(f"{what}: give that .py file as RECIPE")
    if not path.is_file():
        raise ConfigError(f"{what}, and {path} is not there any more: give it as RECIPE, from where it is now")
    with running(path, only=recipe.source_sha256):
        pass
    return read_recipe(folder / "recipe.json")


def _names(recipe: Recipe) -> list[str]:
    return [name for _, name in own_names(recipe) if name.startswith(f"{RECIPE}:")]


def _recorded(folder: Path, recipe: Recipe) -> Path | None:
    """Return where the file lay; None where this folder does not know it."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        known = record["sha256"] == recipe.source_sha256 and record["folder"] == folder.stat().st_ino
        return Path(record["path"]) if known else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
