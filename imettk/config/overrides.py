"""Override any field of a recipe from the command line, with its type checked: `--stages.0.num-epochs 2`."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

from imettk.config import Recipe, earlier
from imettk.config.fields import PAIRS, field_names, field_type, unknown_field
from imettk.config.own_checks import check_own
from imettk.errors import ConfigError

EARLIER_NAMES = {f"train.{name}" for name in earlier.FOCAL}


def apply_overrides(recipe: Recipe, arguments: list[str]) -> Recipe:
    """Return the recipe with each `--dotted.field value ...` of `arguments` set, parsed by the field's type.

    Raises:
        ConfigError: a field is unknown (the message has the nearest valid name), or a value has the wrong type or is
            out of range.
    """
    if not arguments:
        return recipe
    options = earlier.join_focal(_split(arguments, recipe), recipe.train.loss_params)
    recipe = _emptied(recipe, options)
    overridden = _parse(recipe, [word for option in options for word in _words(recipe, option)])
    if overridden is not None:
        check_own(overridden)
        return overridden
    # tyro explains itself in a page of text, so each option is tried by itself to name the one that it refuses.
    refused = [option for option in options if not _parses(recipe, option)]
    flag, values = refused[0] if refused else (arguments[0], arguments[1:])
    kind = field_type(recipe, _field_name(flag)).replace("bool", "true or false")
    raise ConfigError(f"{flag} must be {kind}, got {' '.join(values)!r}")


def _parses(recipe: Recipe, option: tuple[str, list[str]]) -> bool:
    """Return whether an option by itself has a value of the right type; it may still contradict other fields."""
    try:
        return _parse(recipe, _words(recipe, option)) is not None
    except ConfigError:
        return True


def _words(recipe: Recipe, option: tuple[str, list[str]]) -> list[str]:
    """Return an option in tyro's spelling, which has `--no-NAME` for a field that is set to false."""
    flag, values = option[0], list(option[1])
    kind = field_type(recipe, _field_name(flag))
    if kind == PAIRS:
        # Names stay as they are: a label may be called `true`.
        values[1::2] = [value.capitalize() if value.lower() in ("true", "false") else value for value in values[1::2]]
    if kind == "bool" and len(values) == 1 and values[0].lower() in ("true", "false"):
        section, _, name = flag.rpartition(".")
        return [flag if values[0].lower() == "true" else f"{section}.no-{name}"]
    if "none" in kind.split(" | ") and [value.lower() for value in values] == ["none"]:
        values = ["None"]  # tyro's spelling; messages and documents write `none`
    return [flag, *values]


def _parse(recipe: Recipe, words: list[str]) -> Recipe | None:
    """Return the recipe that tyro parses from the words, or None if it refuses one; its long explanation is dropped."""
    import tyro

    with contextlib.redirect_stderr(io.StringIO()):
        try:
            return tyro.cli(Recipe, args=words, default=recipe, console_outputs=False)
        except SystemExit:
            return None


def _split(arguments: list[str], recipe: Recipe) -> list[tuple[str, list[str]]]:
    """Return each flag with its values; raise `ConfigError` with the nearest field for a flag that is none."""
    known = set(field_names(recipe))
    options: list[tuple[str, list[str]]] = []
    for argument in arguments:
        if not argument.startswith("--"):
            if not options:
                raise ConfigError(f"{argument!r} is not an option: write one like --stages.0.num-epochs 2")
            options[-1][1].append(argument)
            continue
        flag, equals, value = argument.partition("=")
        flag = earlier.renamed(flag)
        name = _field_name(flag)
        if name not in known and name not in EARLIER_NAMES:
            raise ConfigError(unknown_field(name, recipe))
        options.append((flag, [value] if equals else []))
    return options


def _emptied(recipe: Recipe, options: list[tuple[str, list[str]]]) -> Recipe:
    """Return the recipe without the parameters that an option sets.

    tyro expects an option for each key that it finds there.
    """
    for flag, _ in options:
        if field_type(recipe, name := _field_name(flag)) == PAIRS:
            recipe = _without(recipe, name.split("."))
    return recipe


def _without(value: Any, path: list[str]) -> Any:
    """Return a copy with {} at the end of the path.

    Not `replace`, which would check the copy: a loss whose parameters are still to come may have no default for them.
    """
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
