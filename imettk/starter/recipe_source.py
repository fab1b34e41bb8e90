"""A recipe as the Python file that a person would write: only what differs, a comment where one should decide."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from imettk.config import Recipe

WIDTH = 120
INDENT = "    "
DEPTH = 2  # of a recipe's sections
EMPTY: Mapping[str, str] = {}
Comments = Mapping[str, tuple[str, ...]]


def write_source(recipe: Recipe, comments: Comments, summary: str, base: tuple[Recipe, str, str] | None = None) -> str:
    """The text of a recipe file.

    Args:
        comments: lines above a section, by its name, or behind a field, by `section.field`.
        summary: the file's first line.
        base: what it starts from: a built-in recipe, the module and the name of its function; it is taken over with
            `dataclasses.replace`.
    """
    start = Recipe() if base is None else base[0]
    lines: list[str] = []
    called = {"Recipe"}
    for item in fields(recipe):
        name, value, old = item.name, getattr(recipe, item.name), getattr(start, item.name)
        if value == old and name != "table":
            continue
        lines += [f"{INDENT * DEPTH}# {line}" for line in comments.get(name, ())]
        if isinstance(value, tuple):
            lines += _stages(name, value)
            called |= {type(stage).__name__ for stage in value}
        elif not is_dataclass(value):
            lines.append(f"{INDENT * DEPTH}{name}={_value(value)},")
        elif base is not None and name != "table":
            lines += _call(f"{name}=replace", _differences(value, old), DEPTH, first=f"base.{name}")
        else:
            made: Any = type(value)
            behind = {key.partition(".")[2]: text[0] for key, text in comments.items() if key.startswith(f"{name}.")}
            lines += _call(f"{name}={made.__name__}", _differences(value, made()), DEPTH, behind=behind)
            called.add(made.__name__)
    if base is None:
        head, opening = _imports(sorted(called)), [f"{INDENT}return Recipe("]
    else:
        head = ["from dataclasses import replace", "", *_imports(sorted(called))]
        head.append(f"from {base[1]} import {base[2]}")
        first = [f"{INDENT}# {line}" for line in comments.get("model", ())]
        opening = [f"{INDENT}base = {base[2]}()", *first, f"{INDENT}return replace(", f"{INDENT * 2}base,"]
    quoted = summary.replace("\\", "\\\\").replace('"', "'")
    body = ["", "", "def recipe() -> Recipe:", *opening, *lines, f"{INDENT})"]
    return "\n".join([f'"""{quoted}"""', "", *head, *body]) + "\n"


def _differences(value: Any, old: Any) -> dict[str, str]:
    """Each field in which a section differs, as source."""
    names = [item.name for item in fields(value)]
    return {name: _value(getattr(value, name)) for name in names if getattr(value, name) != getattr(old, name)}


def _stages(name: str, stages: Sequence[Any]) -> list[str]:
    """The tuple of a recipe's stages."""
    made: list[Any] = [type(stage) for stage in stages]
    calls = [
        _call(each.__name__, _differences(stage, each()), DEPTH + 1) for stage, each in zip(stages, made, strict=True)
    ]
    whole = f"{INDENT * DEPTH}{name}=({calls[0][0].strip()}),"
    if len(calls) == 1 == len(calls[0]) and len(whole) <= WIDTH:
        return [whole]
    inner = [line for call in calls for line in call]
    return [f"{INDENT * DEPTH}{name}=(", *inner, f"{INDENT * DEPTH}),"]


def _call(
    opening: str, values: Mapping[str, str], depth: int, *, first: str | None = None, behind: Mapping[str, str] = EMPTY
) -> list[str]:
    """`opening(first, field=value, ...),` on one line where that fits, else an argument a line; comments `behind`."""
    words = [] if first is None else [first]
    words += [f"{name}={value}" for name, value in values.items()]
    whole = f"{INDENT * depth}{opening}({', '.join(words)}),"
    if not behind and len(whole) <= WIDTH:
        return [whole]
    inner = [f"{INDENT * (depth + 1)}{word}," for word in words]
    for name, comment in behind.items():
        place = words.index(f"{name}={values[name]}")
        inner[place] += f"  # {comment}"
    return [f"{INDENT * depth}{opening}(", *inner, f"{INDENT * depth}),"]


def _value(value: Any) -> str:
    """A value as source; text in double quotes, and numbered names as what counts them."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, tuple):
        return repr(value)
    if len(value) > 2 and all(isinstance(each, str) for each in value):
        stem = re.sub(r"\d+$", "", value[0])
        if "{" not in stem and value == tuple(f"{stem}{number}" for number in range(1, len(value) + 1)):
            counted = json.dumps(stem + "{number}", ensure_ascii=False)
            return f"tuple(f{counted} for number in range(1, {len(value) + 1}))"
    return f"({', '.join(map(_value, value))}{',' if len(value) == 1 else ''})"


def _imports(names: list[str]) -> list[str]:
    whole = f"from imettk.config import {', '.join(names)}"
    if len(whole) <= WIDTH:
        return [whole]
    return ["from imettk.config import (", *(f"{INDENT}{name}," for name in names), ")"]
