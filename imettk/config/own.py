"""A user's own: what `module:name`, or `recipe:name` for the recipe's own file, refers to."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from imettk.errors import ConfigError

LIBRARIES = ("timm", "pretrainedmodels", "hf-hub")  # which a colon follows too
RECIPE = "recipe"
_NAMES_OF: dict[str, Mapping[str, Any]] = {}  # what recipe files hold that have been run, by their SHA-256


def is_own(name: str) -> bool:
    """Return whether this is a user's own and no built-in name."""
    library, colon, rest = name.partition(":")
    return bool(colon and library and rest) and library not in LIBRARIES


def register_source(sha256: str, names: Mapping[str, Any]) -> None:
    """Let `recipe:name` be found in what a recipe file holds; of the file that is being run the hash is ""."""
    _NAMES_OF[sha256] = names


def find_own(name: str, sha256: str) -> Any | None:
    """Return what the name refers to; None for `recipe:name` of a file that this process has not run.

    Args:
        sha256: of the recipe's file, `Recipe.source_sha256`.

    Raises:
        ConfigError: there is no such module, or nothing of that name in it.
    """
    module, _, rest = name.partition(":")
    if module == RECIPE:
        names = _NAMES_OF.get(sha256)
        if names is None:
            return None
        if rest not in names:
            raise ConfigError(f"{name}: the recipe's file holds no {rest}: write it there, above recipe()")
        return names[rest]
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{name}: {error}; its folder must be on PYTHONPATH, or write it in the recipe's file as recipe:{rest}"
        ) from None
    if not hasattr(found, rest):
        raise ConfigError(f"{name}: the module {module} holds no {rest}")
    return getattr(found, rest)


def load_own(name: str, sha256: str) -> Any:
    """Return the same where it is needed to go on; `ConfigError` says which file must be given."""
    found = find_own(name, sha256)
    if found is None:
        raise ConfigError(f"{name} stands in the recipe's own file: give that .py file as RECIPE")
    return found
