"""`rounds.json` of `pseudo --rounds`: the settings and folds with which the chain began, and whose scores are whose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imettk.config import SCORE_SECTIONS, Recipe, differences, fingerprint, from_json, to_json
from imettk.config.answers import PredictConfig
from imettk.config.data import CacheConfig
from imettk.config.session import SessionConfig
from imettk.errors import MismatchError
from imettk.progress import say
from imettk.tracking.files import read_json, sha256, write_json
from imettk.tracking.run_dir import JUDGED, RunDir

FILE, SCORED = "rounds.json", "round.json"


@dataclass(frozen=True)
class Beginning:
    """Settings and folds of a chain; once the first labels are made, they stay.

    Attributes:
        options: of the command, by name.
        recipe: of round 0.
        folds: those that all rounds train.
    """

    options: Mapping[str, Any]
    recipe: Recipe
    folds: list[int]

    def to_json(self) -> dict[str, Any]:
        """Return the content of `rounds.json`, without what may differ from session to session."""
        return {**self.options, "folds": self.folds, "recipe": json.loads(to_json(_deciding(self.recipe)))}


def begin(run: RunDir, asked: Beginning, *, is_begun: bool) -> dict[str, Any]:
    """Return the content of `rounds.json`: that of the chain if it has begun, else of what is asked.

    Raises:
        MismatchError: the chain began with other options, or another recipe; the differences are named.
    """
    path = run.find_optional(FILE) if is_begun else None
    if path is None:
        return asked.to_json()
    known = read_json(path)
    changed = [
        f"--{name}: {known.get(name)} -> {value}" for name, value in asked.options.items() if known.get(name) != value
    ]
    if "recipe" in known:  # an earlier version did not note it
        old = from_json(json.dumps(known["recipe"]), where=str(path))
        changed += differences(old, _deciding(asked.recipe), SCORE_SECTIONS)
    if changed:
        raise MismatchError(
            f"{path} is of rounds with other settings ({'; '.join(changed)}): give the same ones, or a copy of the run"
        )
    known = asked.to_json() | known
    if known["folds"] != asked.folds:
        say(f"note: the rounds began with folds {_text(known['folds'])} and go on with them, not {_text(asked.folds)}")
    return dict(known)


def is_scored(folder: Path, recipe: Recipe, folds: list[int]) -> bool:
    """Return whether the scores in a run folder are those of these settings and folds."""
    noted = read_json(folder / SCORED)
    return noted is not None and (folder / JUDGED).is_file() and noted == _scored(folder, recipe, folds)


def note_scored(folder: Path, recipe: Recipe, folds: list[int]) -> None:
    """Note that the scores in a run folder are those of these settings and folds."""
    if (folder / JUDGED).is_file():
        write_json(folder / SCORED, _scored(folder, recipe, folds))


def _scored(folder: Path, recipe: Recipe, folds: list[int]) -> dict[str, Any]:
    settings = fingerprint(_deciding(recipe), SCORE_SECTIONS)
    return {"settings": settings, "folds": folds, "judged": sha256(folder / JUDGED)}


def _deciding(recipe: Recipe) -> Recipe:
    """Return the recipe with defaults in place of what decides about speed and memory alone."""
    predict = replace(recipe.predict, batch_size=PredictConfig().batch_size)
    return replace(recipe, cache=CacheConfig(), session=SessionConfig(), predict=predict)


def _text(folds: list[int]) -> str:
    return ", ".join(map(str, folds))
