"""Checks before a push: mistakes that otherwise only a kernel would find, an hour later."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imettk.config import Recipe
from imettk.config.fields import leaves
from imettk.config.file_kinds import extras_of
from imettk.config.overrides import apply_overrides
from imettk.config.own import RECIPE, file_of
from imettk.config.own_checks import own_names
from imettk.errors import UserError
from imettk.kaggle.kernel import GPU, MOST_SECONDS, check_machine
from imettk.kaggle.mounts import INPUT, MODEL, read_model, split_word
from imettk.kaggle.names import check_name, name_of
from imettk.progress import say
from imettk.recipes import load_recipe

if TYPE_CHECKING:
    from imettk.kaggle.pack import PackOrder

MOST_HOURS = round(MOST_SECONDS / 3600)


def checked_recipe(arguments: argparse.Namespace) -> Recipe:
    """Return the recipe with its overrides, or raise `UserError` for mistakes in them."""
    if arguments.recipe.endswith(".json"):
        raise UserError(f"{arguments.recipe}: kernels accept a built-in name or a .py file with a recipe() function")
    recipe = apply_overrides(load_recipe(arguments.recipe), arguments.overrides)
    check_travels(recipe)
    return recipe


def check_travels(recipe: Recipe) -> None:
    """Raise `UserError` if a recipe uses code of the user's own outside its own file, which no pack contains.

    A module of an installed library is accepted, with a note that the platform needs the library too.
    """
    # Modules that can be imported here need not exist on the platform: only those of a library can be expected there.
    for field, name in own_names(recipe):
        module, _, rest = name.partition(":")
        if module == RECIPE or module.split(".")[0] == "imettk":
            continue
        file = Path(file_of(name, recipe.source_sha256))
        if not {"site-packages", "dist-packages"} & set(file.parts):
            raise UserError(
                f"`{field}` {name}: {file.name} is not part of the pack, which contains only the recipe's own file: "
                f"move the code there, and name it recipe:{rest}"
            )
        say(f"note: `{field}` {name}: the kernels' image must have the library of {module}")


def chosen_name(arguments: argparse.Namespace, recipe: Recipe) -> str:
    """Return `--name`, or a valid name derived from the recipe's."""
    return name_of(recipe.name) if arguments.name is None else check_name(arguments.name)


def chosen_machine(arguments: argparse.Namespace) -> str:
    """Return `--accelerator` in the platform's spelling; two T4 by default."""
    return GPU if arguments.accelerator is None else check_machine(arguments.accelerator)


def limit_seconds(arguments: argparse.Namespace) -> int | None:
    """Return `--limit-hours` in seconds; None for the platform's limit."""
    hours = arguments.limit_hours
    if hours is not None and not 0 < hours <= MOST_HOURS:
        raise UserError(f"--limit-hours: {hours:g} must be above 0 and at most {MOST_HOURS}")
    return None if hours is None else round(3600 * hours)


def limit_words(arguments: argparse.Namespace) -> list[str]:
    """Return the same limit as words for the command, which then stops before the platform kills it."""
    seconds = limit_seconds(arguments)
    return [] if seconds is None else ["--session.limit-seconds", str(seconds)]


def check_limit(recipe: Recipe, seconds: int | None) -> None:
    """Raise `UserError` for a limit in which no session can train, or that is longer than the platform's.

    Args:
        recipe: the recipe with its overrides.
        seconds: `--limit-hours` in seconds; None if the recipe's own limit applies.
    """
    session = recipe.session
    if seconds is not None and seconds <= session.margin_seconds:
        raise UserError(
            f"--limit-hours: {seconds} s do not exceed session.margin_seconds, {session.margin_seconds:g} s, which are "
            "kept free for saving: give more hours, or a lower --session.margin-seconds"
        )
    if seconds is None and session.limit_seconds > 3600 * MOST_HOURS:  # it would be killed before it saves
        raise UserError(
            f"session.limit_seconds: {session.limit_seconds:g} s exceed the {MOST_HOURS} hours of a session on Kaggle: "
            f"give --limit-hours {MOST_HOURS} or less"
        )


def packed_recipe(arguments: argparse.Namespace) -> str:
    """Return RECIPE as kernels name it: a built-in name, or the name of a `.py` file in the pack."""
    return Path(arguments.recipe).name if arguments.recipe.endswith(".py") else str(arguments.recipe)


def pack_folder(arguments: argparse.Namespace) -> Path:
    """Return the folder in which the pack is made: `--pack`, or one below `--run-dir`."""
    return arguments.run_dir / "pack" if arguments.pack is None else Path(arguments.pack)


def pack_order(arguments: argparse.Namespace, recipe: Recipe) -> PackOrder:
    """Return the contents of the pack for this recipe."""
    from imettk.kaggle.pack import PackOrder

    own = Path(arguments.recipe) if arguments.recipe.endswith(".py") else None
    return PackOrder(recipe=own, extra=arguments.add, formats=extras_of(recipe))


def check_fold(fold: int | None, recipe: Recipe) -> None:
    """Raise `UserError` for a `--fold` that the recipe does not have."""
    if fold is not None and not 0 <= fold < recipe.folds.num_folds:
        raise UserError(f"--fold: {fold} must be from 0 to {recipe.folds.num_folds - 1}, the folds of {recipe.name}")


def folds_of(text: str, recipe: Recipe) -> list[int]:
    """Parse `0,1,3` into numbers, each a fold of the recipe."""
    known = {str(fold): fold for fold in range(recipe.folds.num_folds)}
    words = [word.strip() for word in text.split(",")]
    if not all(word in known for word in words) or len(set(words)) < len(words):
        raise UserError(f"--folds: {text!r} must be numbers from 0 to {len(known) - 1}, each once, as in 0,1,2")
    return sorted(known[word] for word in words)


def _mounted(recipe: Recipe) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the fields that name attached inputs: the option, all its values, and the values that are inputs."""
    for name, content in leaves(recipe):
        values = list(content) if isinstance(content, tuple) else [content]
        inputs = [value for value in values if isinstance(value, str) and value.startswith((INPUT, MODEL))]
        if inputs:
            yield f"--{name.replace('_', '-')}", [str(value) for value in values], inputs


def input_words(recipe: Recipe, overrides: Iterable[str]) -> list[str]:
    """Return options for the attached inputs that only the recipe's file names.

    A kernel replaces `input:SLUG` by a path in its options, and not inside a recipe.

    Args:
        recipe: the recipe with its overrides.
        overrides: the options that were given.
    """
    given = {split_word(word)[1] for word in overrides}
    fields = [(flag, values) for flag, values, inputs in _mounted(recipe) if not given.issuperset(inputs)]
    return [word for flag, values in fields for word in (flag, *values)]


def models_in(recipe: Recipe) -> tuple[str, ...]:
    """Return Kaggle's own models that a recipe with its overrides names, which its kernels have to attach."""
    inputs = [value for _, _, values in _mounted(recipe) for value in values if value.startswith(MODEL)]
    return tuple(dict.fromkeys(read_model(value).source for value in inputs))


def check_inputs(recipe: Recipe, attached: Iterable[str]) -> None:
    """Raise `UserError` for an `input:SLUG` of a recipe that is not attached.

    Args:
        recipe: the recipe with its overrides.
        attached: sources as owner/slug, with or without a version, or the slug of a competition.
    """
    slugs = {reference.split("/")[1] if "/" in reference else reference for reference in attached}
    for flag, _, inputs in _mounted(recipe):
        for value in inputs:
            slug = value.removeprefix(INPUT).partition("/")[0]
            if value.startswith(INPUT) and slug not in slugs:
                raise UserError(f"{flag} {value}: no {slug!r} is attached: give --attach OWNER/{slug or 'SLUG'}")


def folders_of_models(words: Iterable[str]) -> dict[str, Path]:
    """Parse `OWNER/MODEL/FRAMEWORK/VARIATION/VERSION=DIR` into folders by model."""
    folders = {}
    for word in words:
        name, _, folder = word.partition("=")
        model = read_model(name)
        if not model.version or model.file or not Path(folder).is_dir() or not folder:
            raise UserError(
                f"--models: {word!r} must be OWNER/MODEL/FRAMEWORK/VARIATION/VERSION=DIR, an existing folder"
            )
        folders[model.source] = Path(folder)
    return folders
