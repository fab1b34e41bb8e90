"""Parameters that a recipe gives by name, checked against what takes them."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from imettk.config.section import Parameter
from imettk.errors import ConfigError

PLAIN = {kind.__name__: kind for kind in (bool, int, float, str)}


def bind(field: str, what: str, takes: Any, given: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Return parameters by name: those that are given, and for a dataclass its defaults.

    Args:
        field: where a recipe gives them, such as `train.loss_params`.
        what: what takes them, such as `the loss focal`.
        takes: a dataclass that checks their ranges, a function with keyword-only parameters, or None for none.

    Raises:
        ConfigError: a name that it does not have, a wrong type, one out of range, or one without a default is missing.
    """
    kinds, required = _fields(takes) if dataclasses.is_dataclass(takes) else _keywords(takes)
    if unknown := sorted(set(given) - set(kinds)):
        has = f"has {', '.join(kinds)}" if kinds else "has none"
        empty = f"--{field.replace('_', '-')}"
        raise ConfigError(f"`{field}` holds {', '.join(unknown)}, and {what} {has}; {empty} with no value empties it")
    if missing := sorted(required - set(given)):
        raise ConfigError(f"`{field}` must hold {', '.join(missing)}, which {what} has no default for")
    values = {key: _typed(field, key, kinds[key], value) for key, value in given.items()}
    if not dataclasses.is_dataclass(takes):
        return values
    try:
        return dataclasses.asdict(takes(**values))  # type: ignore[operator]  # the class, no instance
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"`{field}`: {error}") from None


def _typed(field: str, key: str, kind: type | None, value: Parameter) -> Parameter:
    """Return the value; a whole number becomes a float where one belongs."""
    if kind is float and type(value) is int:
        return float(value)
    if kind is not None and type(value) is not kind:
        raise ConfigError(f"`{field}` {key} must be {kind.__name__}, got {value!r}")
    return value


def _fields(kind: Any) -> tuple[dict[str, type | None], set[str]]:
    """Return the types of a dataclass's fields, and the names of those without a default."""
    hints, missing = typing.get_type_hints(kind), dataclasses.MISSING
    required = {
        item.name for item in dataclasses.fields(kind) if item.default is missing and item.default_factory is missing
    }
    return {item.name: _plain(hints[item.name]) for item in dataclasses.fields(kind)}, required


def _keywords(function: Callable[..., Any] | None) -> tuple[dict[str, type | None], set[str]]:
    """Return the same of a function's keyword-only parameters; where no type is said, the default's counts."""
    if function is None:
        return {}, set()
    found = inspect.signature(function).parameters.values()
    own = [item for item in found if item.kind is inspect.Parameter.KEYWORD_ONLY]
    kinds = {
        item.name: _plain(type(item.default) if item.annotation is item.empty else item.annotation) for item in own
    }
    return kinds, {item.name for item in own if item.default is item.empty}


def keyword_defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the keyword-only parameters of a function that have a default, with it."""
    found = inspect.signature(function).parameters.values()
    own = (item for item in found if item.kind is inspect.Parameter.KEYWORD_ONLY)
    return {item.name: item.default for item in own if item.default is not item.empty}


def _plain(annotation: Any) -> type | None:
    """Return one of the four types that a parameter can have; None where another, or several, are named."""
    return PLAIN.get(annotation if isinstance(annotation, str) else getattr(annotation, "__name__", ""))
