"""Walk the fields of a recipe by their dotted names, such as `stages.0.num_epochs`."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Literal

PAIRS = "pairs of a name and a value"  # the type of `loss_params` and `score.params`


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of every field; sections in a tuple are numbered, any other tuple is a value."""
    for item in dataclasses.fields(value):
        name, content = f"{prefix}{item.name}", getattr(value, item.name)
        if dataclasses.is_dataclass(content):
            yield from leaves(content, f"{name}.")
        elif isinstance(content, tuple) and content and dataclasses.is_dataclass(content[0]):
            for position, section in enumerate(content):
                yield from leaves(section, f"{name}.{position}.")
        else:
            yield name, content


def field_names(recipe: Any) -> list[str]:
    """Return the dotted name of every field that an option can set."""
    return [name for name, _ in leaves(recipe) if name != "source_sha256"]


def field_type(recipe: Any, name: str) -> str:
    """Return the type of the field with this dotted name, in words that complete "must be"."""
    kind = _kind(recipe, name)
    if rows := _rows(name):
        return f"{'one or more' if typing.get_origin(kind) is tuple else 'one'} of {', '.join(rows)}"
    return _describe(kind)


def field_choices(recipe: Any, name: str) -> tuple[str, ...]:
    """Return the names that the field with this dotted name takes; none if it takes other values."""
    kind = _kind(recipe, name)
    if kind is bool:
        return "true", "false"
    return tuple(_rows(name)) or (typing.get_args(kind) if typing.get_origin(kind) is Literal else ())


def _kind(recipe: Any, name: str) -> Any:
    """Return the annotation of the field with this dotted name."""
    kind: Any = type(recipe)
    for part in name.split("."):
        kind = typing.get_args(kind)[0] if part.isdigit() else typing.get_type_hints(kind)[part]
    return kind


def _rows(name: str) -> Iterable[str]:
    """Return the rows that a field with this dotted name chooses from; none if it takes other values."""
    # Inside: choices have sections of their own, whose module imports this one.
    from imettk.config.choices import CHOSEN

    return CHOSEN.get(re.sub(r"\.\d+", "", name), ())


def _describe(kind: Any) -> str:
    """Return a type in words."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, parts))
    if origin is dict:
        return PAIRS
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_describe(part).removeprefix("one of ").replace(", ", " | ") for part in parts)
    if origin is tuple:
        if dataclasses.is_dataclass(parts[0]):
            return "sections, which only a .py or .json recipe can add"
        several = "values" if parts[-1] is Ellipsis else f"{len(parts)} values"
        return f"{several} of type {_describe(parts[0])}"
    return "none" if kind is types.NoneType else str(kind.__name__)


def unknown_field(name: str, recipe: Any) -> str:
    """Return the message for a field that does not exist, with the most similar one that does."""
    known = field_names(recipe)
    sections = {field.rsplit(".", depth)[0] for field in known for depth in (1, 2)}
    nearest = difflib.get_close_matches(name, [*known, *sorted(sections)], n=1, cutoff=0.5)
    # The right name in a wrong section: `train.lr` means `stages.0.lr`.
    same_leaf = [field for field in known if field.split(".")[-1] == name.split(".")[-1]]
    guess = (same_leaf or nearest)[:1]
    return f"`{name}` is not a field of the recipe" + (f"; did you mean `{guess[0]}`?" if guess else "")
