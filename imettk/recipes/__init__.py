"""Functions that return a `Recipe`, one module per competition, and `load_recipe`, which takes what a user types."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from imettk.config import Recipe, from_json, own, read_recipe, to_json
from imettk.config.fields import leaves
from imettk.config.own_checks import check_own
from imettk.config.transform_checks import check_transforms
from imettk.errors import ConfigError, UserError
from imettk.recipes.aptos2019 import aptos2019
from imettk.recipes.csiro2025 import csiro2025
from imettk.recipes.digits import digits
from imettk.recipes.gdsc2020 import gdsc2020, gdsc2020_densenet, gdsc2020_triplet
from imettk.recipes.hpa2018 import hpa2018, hpa2018_metric
from imettk.recipes.humpback2018 import humpback2018, humpback2018_arcface
from imettk.recipes.imet2019 import imet2019, imet2019_freezing
from imettk.recipes.melanoma2020 import melanoma2020
from imettk.recipes.pawpularity2021 import pawpularity2021
from imettk.recipes.plant2020 import plant2020
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
    "melanoma2020": melanoma2020,
    "plant2020": plant2020,
    "csiro2025": csiro2025,
    "aptos2019": aptos2019,
    "pawpularity2021": pawpularity2021,
}


def load_recipe(name: str) -> Recipe:
    """Load a recipe by its built-in name, from a `.py` file with a `recipe()` function, or from a saved `recipe.json`.

    Raises:
        ConfigError: it does not exist, or is not valid.
    """
    if name in RECIPES:
        return RECIPES[name]()
    path = Path(name)
    if path.suffix == ".json":
        saved = read_recipe(path)
        check_transforms(saved)
        return saved
    if path.suffix != ".py":
        raise ConfigError(f"{name!r} is not a recipe: give {', '.join(RECIPES)}, a .py file, or a recipe.json")
    if not path.is_file():
        raise ConfigError(f"{path} is missing")
    made, sha256 = _run(path)
    if not isinstance(made, Recipe):
        raise ConfigError(f"{path}: recipe() must return a Recipe, got {type(made).__name__}")
    _require_plain(made, path)
    try:
        made = replace(made, source_sha256=sha256)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    # Through JSON and back: that checks the type of every field, and the run is resumed from such a file.
    made = from_json(to_json(made), where=str(path))
    check_own(made)
    return made


def _run(path: Path) -> tuple[object, str]:
    """Run `recipe()` of a user's file; return its result and the file's SHA-256.

    Raises:
        ConfigError: the file has no such function, or raises anything; the message names the line.
    """
    try:
        with own.running(path) as (sha256, names):
            if (function := names.get("recipe")) is not None:
                return function(), sha256
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: `exit(0)` in the file would end the command as if it had succeeded
        place = own.describe(error, files={str(path)})
        kind = [] if isinstance(error, UserError) else [type(error).__name__]
        plain = ": ".join(filter(None, [*kind, " ".join(str(error).split())]))
        raise ConfigError(place or f"{path}: {plain}") from error
    raise ConfigError(f"{path} has no function recipe()")


def _require_plain(recipe: Recipe, path: Path) -> None:
    """Raise `ConfigError` if a field holds a value that JSON cannot, such as a `Path` or a NumPy number."""
    for name, value in leaves(recipe):
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            kind = type(value).__name__
            raise ConfigError(f"{path}: `{name}` must be a plain value, got {value!r}, a {kind}") from None
