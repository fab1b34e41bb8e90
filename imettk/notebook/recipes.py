"""Recipes in a notebook: loaded by name, with some fields changed."""

from __future__ import annotations

import functools
import json
import operator
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imettk.config import Recipe, from_json, to_json
from imettk.config.fields import field_names, unknown_field
from imettk.config.own_checks import check_own
from imettk.config.transform_checks import check_transforms
from imettk.errors import ConfigError
from imettk.recipes import load_recipe as load
from imettk.tracking.recipe_file import recall_source


def load_recipe(name: str | os.PathLike[str], fields: Mapping[str, Any] | None = None) -> Recipe:
    """Load a recipe as the command line does, and set some of its fields.

    Args:
        name: a built-in name, a `.py` file with a `recipe()` function, or a saved `recipe.json`.
        fields: values by the names that `imettk train NAME --fields` lists, such as {"stages.0.num_epochs": 2}.

    Raises:
        ConfigError: there is no such recipe or field, or a value is not valid.
    """
    name = os.fspath(name)
    recipe = load(name)
    if name.endswith(".json"):
        recipe = recall_source(Path(name).parent, recipe)
    if not fields:
        return recipe
    content = json.loads(to_json(recipe))
    known = set(field_names(recipe))
    for field, value in fields.items():
        if field not in known:
            raise ConfigError(unknown_field(field, recipe))
        *path, last = (int(part) if part.isdigit() else part for part in field.split("."))
        functools.reduce(operator.getitem, path, content)[last] = value
    try:
        text = json.dumps(content)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"fields must be plain values, such as numbers, texts and lists of these: {error}") from None
    recipe = from_json(text, where=f"{name} with {', '.join(fields)}")
    check_transforms(recipe)
    check_own(recipe)
    return recipe
