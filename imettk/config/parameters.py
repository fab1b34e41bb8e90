"""Parameters that a recipe gives by name, checked against the loss or metric that takes them."""

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
    """Return the given parameters, completed by the defaults if a dataclass takes them.

    Args:
        field: the field of the recipe that holds them, such as `train.loss_params`.
        what: the loss or metric, for messages, such as `the loss focal`.
        takes: a dataclass that checks ranges, a function with keyword-only parameters, or None for no parameters.

    Raises:
        ConfigError: a name is unknown, a value has the wrong type or is out of range, or one without a default is
            missing.
    """
    kinds, required = _fields(takes) if dataclasses.is_dataclass(takes) else _keywords(takes)
    if unknown := sorted(set(given) - set(kinds)):
        known = ", ".join(kinds) or "no parameters"
        empty = f"--{field.replace('_', '-')}"
        raise ConfigError(
            f"`{field}` has {', '.join(unknown)}, and {what} takes {known}; {empty} with no value removes all"
        )
    if missing := sorted(required - set(given)):
        raise ConfigError(f"`{field}` must have {', '.join(missing)}: {what} has no default for it")
    values = {key: _typed(field, key, kinds[key], value) for key, value in given.items()}
    if not dataclasses.is_dataclass(takes):
        return values
    try:
        return dataclasses.asdict(takes(**values))  # type: ignore[operator]  # the class, no instance
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"`{field}`: {error}") from None


def _typed(field: str, key: str, kind: type | None, value: Parameter) -> Parameter:
    """Return the value, an int as float where the parameter is one; raise `ConfigError` for any other wrong type."""
    if kind is float and type(value) is int:
        return float(value)
    if kind is not None and type(value) is not kind:
        raise ConfigError(f"`{field}` {key} must be {kind.__name__}, got {value!r}")
    return value


def _fields(kind: Any) -> tuple[dict[str, type | None], set[str]]:
    """Return the types of a dataclass's fields by name, and the names of those without a default."""
    hints, missing = typing.get_type_hints(kind), dataclasses.MISSING
    required = {
        item.name for item in dataclasses.fields(kind) if item.default is missing and item.default_factory is missing
    }
    return {item.name: _plain(hints[item.name]) for item in dataclasses.fields(kind)}, required


def _keywords(function: Callable[..., Any] | None) -> tuple[dict[str, type | None], set[str]]:
    """Return the same for a function's keyword-only parameters; without an annotation the default's type counts."""
    if function is None:
        return {}, set()
    keywords = _keyword_only(function)
    kinds = {
        item.name: _plain(type(item.default) if item.annotation is item.empty else item.annotation) for item in keywords
    }
    return kinds, {item.name for item in keywords if item.default is item.empty}


def keyword_defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the defaults of a function's keyword-only parameters by name."""
    return {item.name: item.default for item in _keyword_only(function) if item.default is not item.empty}


def _keyword_only(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return [item for item in parameters if item.kind is inspect.Parameter.KEYWORD_ONLY]


def _plain(annotation: Any) -> type | None:
    """Return which of the four types of parameters this is; None for any other annotation, which is not checked."""
    return PLAIN.get(annotation if isinstance(annotation, str) else getattr(annotation, "__name__", ""))
