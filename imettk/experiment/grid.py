"""The grid of a search: every combination of the values that `--vary` gives, as recipes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from imettk.config import ANSWER_SECTIONS, PREPARE_SECTIONS, WEIGHT_SECTIONS, Recipe, differences, fingerprint
from imettk.config.fields import field_names, leaves
from imettk.config.overrides import apply_overrides
from imettk.errors import ConfigError

Grid = list[tuple[dict[str, str], Recipe]]  # varied fields, as text, and the recipe with them

MOST = 32  # recipes: beyond that a grid on one fold finds the noise
_PAIRS = {"(": ")", "[": "]", "{": "}"}


def parse_vary(options: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of each field, from options such as `stages.0.lr=1e-3,3e-3`.

    Raises:
        ConfigError: an option has no field or no value, or a field comes twice.
    """
    vary: dict[str, list[str]] = {}
    for option in options:
        name, _, text = option.partition("=")
        name, values = name.lstrip("-").replace("-", "_"), [value.strip() for value in split_outside(text, ",")]
        if not name or not all(values):
            raise ConfigError(f"--vary must be FIELD=VALUE,VALUE such as stages.0.lr=1e-3,3e-3, got {option!r}")
        if name in vary:
            raise ConfigError(f"--vary {name} is given twice: write all of its values in one, separated by commas")
        vary[name] = values
    return vary


def split_outside(text: str, separator: str) -> list[str]:
    """Split a text at each separator that is neither in brackets nor in quotes."""
    parts, closing = [""], ""  # what closes the open brackets and quotes, the innermost last
    for char in text:
        if closing[-1:] == char:
            closing = closing[:-1]
        elif closing[-1:] in ("'", '"'):
            pass
        elif char in "'\"":
            closing += char
        elif char in _PAIRS:
            closing += _PAIRS[char]
        elif char == separator and not closing:
            parts.append("")
            continue
        parts[-1] += char
    return parts


def make_grid(base: Recipe, vary: dict[str, list[str]]) -> Grid:
    """Return every combination of the values as a recipe, with its values as text; the base comes first.

    A combination that trains the same weights as an earlier one is left out.

    Raises:
        ConfigError: there are too many, or none beside the base; a field is unknown, has an invalid value, or changes
            no weights; or a recipe would need another table or other folds than the base.
    """
    for name in vary:
        _require_weights_change(base, name)
    if (count := math.prod(map(len, vary.values()))) > MOST:
        product = " x ".join(str(len(values)) for values in vary.values())
        shown = f"{product} = {count}" if len(vary) > 1 else product
        raise ConfigError(f"--vary gives {shown} recipes, and a search takes at most {MOST}: vary less")
    grid: Grid = [({}, base)]
    known = {fingerprint(base)}
    for values in itertools.product(*vary.values()):
        chosen = dict(zip(vary, values, strict=True))
        words = [
            word for name, text in chosen.items() for word in (f"--{name}", *filter(None, split_outside(text, " ")))
        ]
        recipe = apply_overrides(base, words)
        if changed := differences(base, recipe, PREPARE_SECTIONS):
            raise ConfigError(f"--vary: recipes of a search share their table and folds, got {'; '.join(changed)}")
        if (trained := fingerprint(recipe)) not in known:
            known.add(trained)
            grid.append((chosen, recipe))
    if len(grid) == 1:
        raise ConfigError("--vary gives only values that the recipe has already: add others to compare them with")
    fields = dict(leaves(base))
    grid[0] = ({name: _text(fields.get(name)) for name in vary}, base)
    return grid


def _require_weights_change(base: Recipe, name: str) -> None:
    """Raise `ConfigError` if a field leaves the trained weights as they are."""
    section, option = name.split(".")[0], f"--{name.replace('_', '-')}"
    if name not in field_names(base) or section in WEIGHT_SECTIONS:  # an unknown one is refused with the nearest name
        return
    if section in ANSWER_SECTIONS:
        raise ConfigError(
            f"--vary {name} would train the same weights for each value: train once, and run `imettk validate {option} "
            "VALUE` on that run"
        )
    raise ConfigError(f"--vary {name} would change no score: give {option} VALUE without --vary, for all candidates")


def _text(value: Any) -> str:
    return " ".join(map(str, value)) or "()" if isinstance(value, tuple) else str(value)
