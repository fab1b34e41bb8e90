"""Fingerprints of recipes: two with the same one can share checkpoints."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from imettk.config import earlier, fits
from imettk.config.answers import ScoreConfig
from imettk.config.choices import LOSSES
from imettk.config.fields import leaves
from imettk.config.parameters import bind
from imettk.config.recipe import Recipe, from_json, to_json
from imettk.config.section import Parameter
from imettk.config.stage import StageConfig

PREPARE_SECTIONS = ("table", "folds")
# Sections that change the trained weights.
WEIGHT_SECTIONS = (*PREPARE_SECTIONS, "images", "model", "embedding", "train", "stages", "source_sha256")
ANSWER_SECTIONS = ("predict", "score", "rule", "ranking")  # what becomes of a network's outputs, and their score
# All that a score depends on: those of two runs say something of each other only if the rest is the same.
SCORE_SECTIONS = (*WEIGHT_SECTIONS, *ANSWER_SECTIONS)


def fingerprint(recipe: Recipe, sections: tuple[str, ...] = WEIGHT_SECTIONS) -> str:
    """Return 16 hex digits that change if, and only if, something in `sections` changes."""
    normal, sections = _normalised(recipe), _with_score(recipe, sections)
    # Fields at their default are left out: a later version has more of them, and must still read today's weights.
    chosen = {name: _beyond_defaults(getattr(normal, name)) for name in sections}
    losses = [_loss_beyond_defaults(normal, stage) for stage in (None, *normal.stages)]
    content = json.dumps(earlier.hashed_as_before(chosen, losses), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def differences(old: Recipe, new: Recipe, sections: tuple[str, ...] = WEIGHT_SECTIONS) -> list[str]:
    """Return one line for each field of `sections` that differs, with its old and new value."""
    before, after = (dict(leaves(_normalised(recipe))) for recipe in (old, new))
    sections = tuple({*_with_score(old, sections), *_with_score(new, sections)})

    def shown(fields: dict[str, Any], name: str) -> str:
        return repr(fields[name]) if name in fields else "(absent)"  # of a stage that only one recipe has

    return [
        f"{name}: {shown(before, name)} -> {shown(after, name)}"
        for name in {**before, **after}
        if name.split(".")[0] in sections and (name not in before or name not in after or before[name] != after[name])
    ]


def _with_score(recipe: Recipe, sections: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sections, with `score` if training follows the metric: it then decides which weights are kept."""
    follows = "train" in sections and recipe.train.watch == "score" and recipe.score != ScoreConfig()
    return (*sections, "score") if follows else sections


def _beyond_defaults(value: Any) -> Any:
    """Return the fields of a section that differ from their defaults, by name; any other value unchanged."""
    if isinstance(value, tuple):
        return [_beyond_defaults(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    changed = {}
    for item in dataclasses.fields(value):
        make_default = item.default_factory
        default = item.default if make_default is dataclasses.MISSING else make_default()
        if (content := getattr(value, item.name)) != default:
            changed[item.name] = _beyond_defaults(content)
    return changed


def _loss_beyond_defaults(recipe: Recipe, stage: StageConfig | None) -> tuple[str, dict[str, Parameter]]:
    """Return a stage's loss, or the training's for None, and its parameters that differ from their defaults."""
    name, params = fits.stage_loss(recipe, stage)
    if name not in LOSSES:  # in a recipe's file that may not have been run, so its defaults are not known
        return name, params
    declared = LOSSES[name].own_params
    defaults = bind("loss_params", name, declared, {})
    values = bind("loss_params", name, declared, params)
    return name, {key: value for key, value in values.items() if key not in defaults or value != defaults[key]}


def _normalised(recipe: Recipe) -> Recipe:
    """Return the recipe as JSON gives it back: a float field that a `.py` recipe sets to 14 becomes 14.0.

    ImageNet's mean and std become None, as in earlier versions, where they were the default. Pseudo labels whose
    content is noted have it in place of their paths: a run folder may move.
    """
    normal = from_json(to_json(recipe), where=recipe.name)
    extra = tuple(
        dataclasses.replace(table, csv=table.content, predictions=table.content) if table.content else table
        for table in normal.table.extra
    )
    normal = dataclasses.replace(normal, table=dataclasses.replace(normal.table, extra=extra))
    defaults: dict[str, Any] = {
        name: None for name, value in earlier.IMAGENET.items() if getattr(normal.images, name) == value
    }
    return dataclasses.replace(normal, images=dataclasses.replace(normal.images, **defaults)) if defaults else normal
