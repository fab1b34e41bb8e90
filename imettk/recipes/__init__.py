"""Functions that return a `Recipe`, one module a competition, and how a recipe is found by what a user types."""

from __future__ import annotations

import hashlib
import json
import runpy
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from imettk.config import Recipe, from_json, read_recipe, to_json
from imettk.config.fields import leaves
from imettk.errors import ConfigError, UserError
from imettk.recipes.digits import digits
from imettk.recipes.gdsc2020 import gdsc2020, gdsc2020_densenet, gdsc2020_triplet
from imettk.recipes.hpa2018 import hpa2018, hpa2018_metric
from imettk.recipes.humpback2018 import humpback2018, humpback2018_arcface
from imettk.recipes.imet2019 import imet2019, imet2019_freezing
from imettk.recipes.turtle2022 import turtle2022

RECIPES: dict[str, Callable[[], Recipe]] = {
    "digits": digits,
    "imet2019": imet2019,
    "imet2019-freezing": imet2019_freezing,
    "hpa2018": hpa2018,
    "hpa2018-metric": hpa2018_metric,
    "humpback2018": humpback2018,
    "humpback2018-arcface": humpback2018_arcface,
    "gdsc2020": gdsc2020,
    "gdsc2020-densenet": gdsc2020_densenet,
    "gdsc2020-triplet": gdsc2020_triplet,
    "turtle2022": turtle2022,
}


def load_recipe(name: str) -> Recipe:
    """The recipe with a built-in name, of a `.py` file with a `recipe()` function, or of a saved `recipe.json`.

    Raises:
        ConfigError: there is none, or it is not valid.
    """
    if name in RECIPES:
        return RECIPES[name]()
    path = Path(name)
    if path.suffix == ".json":
        return read_recipe(path)
    if path.suffix != ".py":
        raise ConfigError(f"{name!r} is no recipe: give {', '.join(RECIPES)}, a .py file, or a recipe.json")
    if not path.is_file():
        raise ConfigError(f"{path} is missing")
    made = _run(path)
    if not isinstance(made, Recipe):
        raise ConfigError(f"{path}: recipe() must return a Recipe, got {type(made).__name__}")
    _require_plain(made, path)
    made = replace(made, source_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    return from_json(to_json(made), where=str(path))  # checks the types of every field


def _run(path: Path) -> object:
    """What `recipe()` of a user's file returns; whatever it raises is theirs, and is said with its line."""
    try:
        function = runpy.run_path(str(path)).get("recipe")
        if function is not None:
            return function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an exit too: it would end the stage with the code of one that is done
        parts = [*([] if isinstance(error, UserError) else [type(error).__name__]), " ".join(str(error).split())]
        raise ConfigError(f"{path}{_line_of(error, path)}: {': '.join(filter(None, parts))}") from error
    raise ConfigError(f"{path} has no function recipe()")


def _line_of(error: BaseException, path: Path) -> str:
    """`, line 7`: the last one of this file that led to the error; empty where none did."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def _require_plain(recipe: Recipe, path: Path) -> None:
    """Raise `ConfigError` where a field holds what JSON cannot: a path, a number of numpy."""
    for name, value in leaves(recipe):
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            kind = type(value).__name__
            raise ConfigError(f"{path}: `{name}` must be a plain value, got {value!r}, a {kind}") from None
