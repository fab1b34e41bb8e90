"""A recipe as the Python file a person would write: only what differs from the defaults, comments at open choices."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from imettk.config import Recipe

# The text is laid out as `ruff format` would, which the tests run over it: a user's first save changes nothing.
WIDTH = 120
INDENT = "    "
DEPTH = 2  # indentation levels of a recipe's sections
EMPTY: Mapping[str, str] = {}
Comments = Mapping[str, tuple[str, ...]]


def write_source(recipe: Recipe, comments: Comments, summary: str, base: tuple[Recipe, str, str] | None = None) -> str:
    """Return the text of a recipe file.

    Args:
        comments: lines above a section, keyed by its name, or after a field, keyed by `section.field`.
        summary: the first line of the file.
        base: a built-in recipe to start from with `dataclasses.replace`, with the module and the name of its function.
    """
    start = Recipe() if base is None else base[0]
    lines: list[str] = []
    imported = {"Recipe"}
    for item in fields(recipe):
        name, value, old = item.name, getattr(recipe, item.name), getattr(start, item.name)
        if value == old and name != "table":
            continue
        lines += [f"{INDENT * DEPTH}# {line}" for line in comments.get(name, ())]
        if isinstance(value, tuple):
            lines += _stages(name, value)
            imported |= {type(stage).__name__ for stage in value}
        elif not is_dataclass(value):
            lines.append(f"{INDENT * DEPTH}{name}={_value(value)},")
        elif base is not None and name != "table":
            lines += _call(f"{name}=replace", _differences(value, old), DEPTH, first=f"base.{name}")
        else:
            made: Any = type(value)
            behind = {key.partition(".")[2]: text[0] for key, text in comments.items() if key.startswith(f"{name}.")}
            lines += _call(f"{name}={made.__name__}", _differences(value, made()), DEPTH, behind=behind)
            imported.add(made.__name__)
    if base is None:
        head, opening = _imports(sorted(imported)), [f"{INDENT}return Recipe("]
    else:
        head = ["from dataclasses import replace", "", *_imports(sorted(imported))]
        head.append(f"from {base[1]} import {base[2]}")
        first = [f"{INDENT}# {line}" for line in comments.get("model", ())]
        opening = [f"{INDENT}base = {base[2]}()", *first, f"{INDENT}return replace(", f"{INDENT * 2}base,"]
    quoted = summary.replace("\\", "\\\\").replace('"', "'")
    body = ["", "", "def recipe() -> Recipe:", *opening, *lines, f"{INDENT})"]
    return "\n".join([f'"""{quoted}"""', "", *head, *body]) + "\n"


def _differences(value: Any, old: Any) -> dict[str, str]:
    """Return the fields of a section that differ from another one, as source by name."""
    names = [item.name for item in fields(value)]
    return {name: _value(getattr(value, name)) for name in names if getattr(value, name) != getattr(old, name)}


def _stages(name: str, stages: Sequence[Any]) -> list[str]:
    """Return the lines of a recipe's tuple of stages."""
    calls = []
    for stage in stages:
        section: Any = type(stage)
        calls.append(_call(section.__name__, _differences(stage, section()), DEPTH + 1))
    whole = f"{INDENT * DEPTH}{name}=({calls[0][0].strip()}),"
    if len(calls) == 1 == len(calls[0]) and len(whole) <= WIDTH:
        return [whole]
    inner = [line for call in calls for line in call]
    return [f"{INDENT * DEPTH}{name}=(", *inner, f"{INDENT * DEPTH}),"]


def _call(
    opening: str, values: Mapping[str, str], depth: int, *, first: str | None = None, behind: Mapping[str, str] = EMPTY
) -> list[str]:
    """Return the lines of `opening(first, field=value, ...),`: one line if it fits, else one for each argument.

    Args:
        behind: comments after arguments, by name; with any, the call is never on one line.
    """
    words = [] if first is None else [first]
    words += [f"{name}={value}" for name, value in values.items()]
    whole = f"{INDENT * depth}{opening}({', '.join(words)}),"
    if not behind and len(whole) <= WIDTH:
        return [whole]
    inner = [f"{INDENT * (depth + 1)}{word}," for word in words]
    for name, comment in behind.items():
        inner[words.index(f"{name}={values[name]}")] += f"  # {comment}"
    return [f"{INDENT * depth}{opening}(", *inner, f"{INDENT * depth}),"]


def _value(value: Any) -> str:
    """Return a value as source: text in double quotes, and a tuple of numbered names as a generator expression."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, tuple):
        return repr(value)
    if len(value) > 2 and all(isinstance(part, str) for part in value):
        stem = re.sub(r"\d+$", "", value[0])
        if "{" not in stem and value == tuple(f"{stem}{number}" for number in range(1, len(value) + 1)):
            counted = json.dumps(stem + "{number}", ensure_ascii=False)
            return f"tuple(f{counted} for number in range(1, {len(value) + 1}))"
    return f"({', '.join(map(_value, value))}{',' if len(value) == 1 else ''})"


def _imports(names: list[str]) -> list[str]:
    """Return the lines that import these names from `imettk.config`."""
    whole = f"from imettk.config import {', '.join(names)}"
    if len(whole) <= WIDTH:
        return [whole]
    return ["from imettk.config import (", *(f"{INDENT}{name}," for name in names), ")"]
