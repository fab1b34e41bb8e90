"""Typed command-line overrides of every field of a recipe: `--stages.0.num-epochs 2`."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

from imettk.config import Recipe, earlier
from imettk.config.fields import PAIRS, field_names, field_type, unknown_field
from imettk.config.own_checks import check_own
from imettk.errors import ConfigError

OLD_NAMES = {f"train.{name}" for name in earlier.FOCAL}


def apply_overrides(recipe: Recipe, arguments: list[str]) -> Recipe:
    """The recipe with each `--dotted.field value ...` of `arguments` in place, parsed by tyro as the field's type.

    Raises:
        ConfigError: an unknown field (with the nearest valid name), or a value that does not fit.
    """
    if not arguments:
        return recipe
    options = earlier.join_focal(_split(arguments, recipe), recipe.train.loss_params)
    recipe = _emptied(recipe, options)
    overridden = _parse(recipe, [word for option in options for word in _words(recipe, option)])
    if overridden is not None:
        check_own(overridden)
        return overridden
    refused = [option for option in options if not _parses(recipe, option)]
    flag, values = refused[0] if refused else (arguments[0], arguments[1:])
    wanted = field_type(recipe, _field_name(flag)).replace("bool", "true or false")
    raise ConfigError(f"{flag} must be {wanted}, got {' '.join(values)!r}")


def _parses(recipe: Recipe, option: tuple[str, list[str]]) -> bool:
    """Whether the option alone has a value of the right type; a rule between fields does not count here."""
    try:
        return _parse(recipe, _words(recipe, option)) is not None
    except ConfigError:
        return True


def _words(recipe: Recipe, option: tuple[str, list[str]]) -> list[str]:
    """The option as tyro wants it: for a field that is true or false, a flag of one of two names."""
    flag, values = option
    kind = field_type(recipe, _field_name(flag))
    if kind == PAIRS:
        values = [value.capitalize() if value.lower() in ("true", "false") else value for value in values]
    if kind == "bool" and len(values) == 1 and values[0].lower() in ("true", "false"):
        section, _, name = flag.rpartition(".")
        return [flag if values[0].lower() == "true" else f"{section}.no-{name}"]
    if "none" in kind.split(" | ") and [value.lower() for value in values] == ["none"]:
        values = ["None"]  # as messages and docs do not spell it
    return [flag, *values]


def _parse(recipe: Recipe, words: list[str]) -> Recipe | None:
    """What tyro makes of the words, or None where it refuses one; its many-line explanation is not shown."""
    import tyro

    with contextlib.redirect_stderr(io.StringIO()):
        try:
            return tyro.cli(Recipe, args=words, default=recipe, console_outputs=False)
        except SystemExit:
            return None


def _split(arguments: list[str], recipe: Recipe) -> list[tuple[str, list[str]]]:
    """Pairs of a flag with its values; a flag that names no field is refused here, with the nearest that does."""
    known = set(field_names(recipe))
    options: list[tuple[str, list[str]]] = []
    for argument in arguments:
        if not argument.startswith("--"):
            if not options:
                raise ConfigError(f"{argument!r} is not understood here: options look like --stages.0.num-epochs 2")
            options[-1][1].append(argument)
            continue
        flag, equals, value = argument.partition("=")
        flag = earlier.renamed(flag)
        name = _field_name(flag)
        if name not in known and name not in OLD_NAMES:
            raise ConfigError(unknown_field(name, recipe))
        options.append((flag, [value] if equals else []))
    return options


def _emptied(recipe: Recipe, options: list[tuple[str, list[str]]]) -> Recipe:
    """Return the recipe without the parameters that an option says anew: tyro has an option for each it finds there."""
    for flag, _ in options:
        if field_type(recipe, name := _field_name(flag)) == PAIRS:
            recipe = _without(recipe, name.split("."))
    return recipe


def _without(value: Any, path: list[str]) -> Any:
    """Return a copy in which what the path leads to is empty; unchecked, for it is completed in the next step."""
    if not path:
        return {}
    if isinstance(value, tuple):
        place = int(path[0])
        return (*value[:place], _without(value[place], path[1:]), *value[place + 1 :])
    changed = copy.copy(value)
    object.__setattr__(changed, path[0], _without(getattr(value, path[0]), path[1:]))
    return changed


def _field_name(flag: str) -> str:
    return flag[2:].replace("-", "_")
