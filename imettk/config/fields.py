"""Walk nested dataclasses by dotted names such as `stages.0.num_epochs`."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterator
from typing import Any, Literal

PAIRS = "pairs of a name and a value"  # the type of parameters


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every field; tuples of sections are walked by position, other tuples are values."""
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
    """The dotted name of every field that can be overridden, such as `stages.0.num_epochs`."""
    return [name for name, _ in leaves(recipe) if name != "source_sha256"]


def field_type(recipe: Any, name: str) -> str:
    """The type of the field with this dotted name, as a user would write it."""
    kind: Any = type(recipe)
    for part in name.split("."):
        kind = typing.get_args(kind)[0] if part.isdigit() else typing.get_type_hints(kind)[part]
    from imettk.config.choices import CHOSEN  # here, for rows have sections of their own, which have fields

    if rows := CHOSEN.get(re.sub(r"\.\d+", "", name)):
        return "one of " + ", ".join(rows)
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is dict:
        return PAIRS
    text = kind.__name__ if type(kind) is type else str(kind)
    return text.replace("typing.", "").replace("NoneType", "none").replace("None", "none")


def unknown_field(name: str, recipe: Any) -> str:
    """What to say about a field that does not exist: its name and the nearest valid one."""
    known = field_names(recipe)
    sections = {one.rsplit(".", depth)[0] for one in known for depth in (1, 2)}
    nearest = difflib.get_close_matches(name, [*known, *sorted(sections)], n=1, cutoff=0.5)
    same_leaf = [one for one in known if one.split(".")[-1] == name.split(".")[-1]]  # `train.lr` means `stages.0.lr`
    guess = (same_leaf or nearest)[:1]
    return f"`{name}` is not a field of the recipe" + (f"; did you mean `{guess[0]}`?" if guess else "")
