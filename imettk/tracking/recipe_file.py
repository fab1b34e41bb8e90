"""The path of a recipe's own `.py` file, kept beside `recipe.json` for commands that are given no RECIPE.

Running a Python file because a run folder names it is a risk. So it is run only if its hash is that of the recipe's
file, and only for the very folder in which the record was written: a run folder that was copied or downloaded, which
somebody else may have made, runs nothing.
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
    """Record the path of a recipe's file if the recipe takes something from it."""
    source = find_source(recipe.source_sha256)
    if source is None or not source.path or not _names(recipe):
        return
    # The inode tells this folder from a copy of it, and survives a rename.
    record = {"path": source.path, "sha256": recipe.source_sha256, "folder": folder.stat().st_ino}
    write_atomically(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode())


def recall_source(folder: Path, recipe: Recipe) -> Recipe:
    """Run the file of a recipe that was read from this folder, if the recipe takes something from it.

    Returns:
        The recipe, checked against what its file defines.

    Raises:
        ConfigError: the file is gone or has changed, or its path is unknown.
    """
    names = _names(recipe)
    if not names or find_source(recipe.source_sha256) is not None:
        return recipe
    what = f"{folder / 'recipe.json'} names {names[0]} of the recipe's own file"
    path = _recorded(folder, recipe)
    if path is None:
        raise ConfigError(f"{what}: give that .py file as RECIPE")
    if not path.is_file():
        raise ConfigError(f"{what}, and {path} is gone: give its new path as RECIPE")
    with running(path, only=recipe.source_sha256):
        pass
    return read_recipe(folder / "recipe.json")


def _names(recipe: Recipe) -> list[str]:
    return [name for _, name in own_names(recipe) if name.startswith(f"{RECIPE}:")]


def _recorded(folder: Path, recipe: Recipe) -> Path | None:
    """Return the recorded path; None if there is no record, or one of another folder or file."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        known = record["sha256"] == recipe.source_sha256 and record["folder"] == folder.stat().st_ino
        return Path(record["path"]) if known else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
