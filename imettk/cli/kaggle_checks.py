"""Checks before a push, of whatever else only a kernel would find out, an hour later."""

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
    """The recipe with its overrides: what is wrong with it is told here and not by a kernel an hour later."""
    if arguments.recipe.endswith(".json"):
        raise UserError(f"{arguments.recipe}: kernels take a built-in name or a .py file with a recipe() function")
    recipe = apply_overrides(load_recipe(arguments.recipe), arguments.overrides)
    check_travels(recipe)
    return recipe


def check_travels(recipe: Recipe) -> None:
    """Raise `UserError` where a recipe names a user's own that no pack holds: one outside of the recipe's file.

    A module of an installed library counts as there; the platform must have it too, which is said.
    """
    for field, name in own_names(recipe):
        module, _, rest = name.partition(":")
        if module == RECIPE or module.split(".")[0] == "imettk":
            continue
        file = Path(file_of(name, recipe.source_sha256))
        if not {"site-packages", "dist-packages"} & set(file.parts):
            raise UserError(
                f"`{field}` {name}: {file.name} does not travel with the pack, which holds the recipe's own file "
                f"alone: write it there, as recipe:{rest}"
            )
        say(f"note: `{field}` {name}: kernels need the library of {module} in their image")


def chosen_name(arguments: argparse.Namespace, recipe: Recipe) -> str:
    """`--name`, or a valid one of the recipe's."""
    return name_of(recipe.name) if arguments.name is None else check_name(arguments.name)


def chosen_machine(arguments: argparse.Namespace) -> str:
    """`--accelerator` in the platform's spelling; where there is none, two T4."""
    return GPU if arguments.accelerator is None else check_machine(arguments.accelerator)


def limit_seconds(arguments: argparse.Namespace) -> int | None:
    """`--limit-hours` in seconds; None is the platform's limit."""
    hours = arguments.limit_hours
    if hours is not None and not 0 < hours <= MOST_HOURS:
        raise UserError(f"--limit-hours: {hours:g} must be above 0 and at most {MOST_HOURS}")
    return None if hours is None else round(3600 * hours)


def limit_words(arguments: argparse.Namespace) -> list[str]:
    """The same limit for the stage, which stops before the platform kills it."""
    seconds = limit_seconds(arguments)
    return [] if seconds is None else ["--session.limit-seconds", str(seconds)]


def check_limit(recipe: Recipe, seconds: int | None) -> None:
    """Refuse a limit with which no session comes to anything.

    Args:
        recipe: with its overrides.
        seconds: of `--limit-hours`; None leaves the recipe's own limit.
    """
    session = recipe.session
    if seconds is not None and seconds <= session.margin_seconds:
        raise UserError(
            f"--limit-hours: {seconds} s are no more than session.margin_seconds, {session.margin_seconds:g} s, which "
            "are kept free for saving: give more hours, or a lower --session.margin-seconds"
        )
    if seconds is None and session.limit_seconds > 3600 * MOST_HOURS:
        raise UserError(
            f"session.limit_seconds: {session.limit_seconds:g} s are more than the {MOST_HOURS} hours of a session on "
            f"Kaggle: give --limit-hours {MOST_HOURS} or less"
        )


def packed_recipe(arguments: argparse.Namespace) -> str:
    """RECIPE as kernels name it: a built-in name, or that of a `.py` file in the pack."""
    return Path(arguments.recipe).name if arguments.recipe.endswith(".py") else str(arguments.recipe)


def pack_folder(arguments: argparse.Namespace) -> Path:
    """The folder in which the pack is made: one below `--run-dir`, unless another is asked for."""
    return arguments.run_dir / "pack" if arguments.pack is None else Path(arguments.pack)


def pack_order(arguments: argparse.Namespace, recipe: Recipe) -> PackOrder:
    """What goes into the pack for this recipe."""
    from imettk.kaggle.pack import PackOrder

    own = Path(arguments.recipe) if arguments.recipe.endswith(".py") else None
    return PackOrder(recipe=own, extra=arguments.add, formats=extras_of(recipe))


def check_fold(fold: int | None, recipe: Recipe) -> None:
    """Refuse a `--fold` that the recipe does not have."""
    if fold is not None and not 0 <= fold < recipe.folds.num_folds:
        raise UserError(f"--fold: {fold} must be from 0 to {recipe.folds.num_folds - 1}, as {recipe.name} has them")


def folds_of(text: str, recipe: Recipe) -> list[int]:
    """`0,1,3` as numbers, each a fold of the recipe."""
    known = {str(fold): fold for fold in range(recipe.folds.num_folds)}
    words = [word.strip() for word in text.split(",")]
    if not all(word in known for word in words) or len(set(words)) < len(words):
        raise UserError(f"--folds: {text!r} must be numbers from 0 to {len(known) - 1}, each once, as in 0,1,2")
    return sorted(known[word] for word in words)


def _mounted(recipe: Recipe) -> Iterator[tuple[str, list[str], list[str]]]:
    """Fields that name attached inputs: the option, all its values, and those that are inputs."""
    for name, content in leaves(recipe):
        values = list(content) if isinstance(content, tuple) else [content]
        inputs = [value for value in values if isinstance(value, str) and value.startswith((INPUT, MODEL))]
        if inputs:
            yield f"--{name.replace('_', '-')}", [str(value) for value in values], inputs


def input_words(recipe: Recipe, overrides: Iterable[str]) -> list[str]:
    """Options that repeat what the recipe's own file says of attached inputs: a kernel finds them in options alone.

    Args:
        recipe: with its overrides.
    """
    given = {split_word(word)[1] for word in overrides}
    fields = [(flag, values) for flag, values, inputs in _mounted(recipe) if not given.issuperset(inputs)]
    return [word for flag, values in fields for word in (flag, *values)]


def models_in(recipe: Recipe) -> tuple[str, ...]:
    """Kaggle's own models that a recipe, with its overrides, names: what a kernel of it has to attach."""
    inputs = [value for _, _, values in _mounted(recipe) for value in values if value.startswith(MODEL)]
    return tuple(dict.fromkeys(read_model(value).source for value in inputs))


def check_inputs(recipe: Recipe, attached: Iterable[str]) -> None:
    """Refuse an `input:SLUG` of a recipe, with its overrides, that nothing attached has.

    Args:
        attached: owner/slug, also with a version, or the slug of a competition.
    """
    there = {reference.split("/")[1] if "/" in reference else reference for reference in attached}
    for flag, _, inputs in _mounted(recipe):
        for value in inputs:
            slug = value.removeprefix(INPUT).partition("/")[0]
            if value.startswith(INPUT) and slug not in there:
                raise UserError(f"{flag} {value}: no {slug!r} is attached: give --attach OWNER/{slug or 'SLUG'}")


def folders_of_models(words: Iterable[str]) -> dict[str, Path]:
    """`OWNER/MODEL/FRAMEWORK/VARIATION/VERSION=DIR` as folders by what they stand for."""
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
