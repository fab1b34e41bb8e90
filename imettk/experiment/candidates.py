"""Candidates of a search, the points at which they are judged, and the file of their scores."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from imettk.config import SCORE_SECTIONS, Recipe, differences, from_json, to_json
from imettk.errors import ConfigError, MismatchError
from imettk.experiment.grid import Grid, make_grid
from imettk.tracking.files import read_json, write_json
from imettk.tracking.run_dir import RunDir

FILE = "search.json"
BASE = "base"  # the candidate with the recipe as it was given
RUNGS = (0.25, 0.5, 1.0)  # shares of its schedule after which a candidate of a successive halving is judged
WHOLE = (1.0,)  # without halving
KEPT = 0.5  # the share of candidates that goes on beyond a rung
ALIKE = 0.1  # of a schedule, by which the rung of a candidate may lie off the base's
REMEDY = "delete it, what is trained is kept"


@dataclass
class Candidate:
    """A recipe of a search, and its scores so far.

    Attributes:
        name: its folder below the search's.
        values: the varied fields, as text.
        scores: at each rung that it has reached, in the validation there.
        score: of the finished training, as `validate` computes it; None before.
        fault: why it failed, in one line; None if it did not.
    """

    name: str
    values: dict[str, str]
    scores: list[float] = field(default_factory=list)
    score: float | None = None
    fault: str | None = None

    @property
    def title(self) -> str:
        """The name with the varied fields."""
        return f"{self.name} ({', '.join(f'{name} {value}' for name, value in self.values.items())})"


@dataclass
class Search:
    """The content of `search.json`; every decision is a function of it.

    Attributes:
        recipe: of the base the sections that its scores depend on, as in `recipe.json`.
        vary: field -> its values, as text.
        higher: whether a higher score is better.
        rungs: rising shares of the schedule, the last one 1.
        candidates: the base first.
    """

    recipe: dict[str, Any]
    vary: dict[str, list[str]]
    fold: int
    higher: bool
    rungs: tuple[float, ...]
    candidates: list[Candidate]

    def running(self, rung: int) -> list[Candidate]:
        """Return the candidates that train up to a rung: the best of those that were judged at the one before.

        The base always goes on beside them, as all others are compared with it.
        """
        base, *others = self.candidates
        for before in range(rung):
            judged = [candidate for candidate in others if len(candidate.scores) > before]
            places = rank([candidate.scores[before] for candidate in judged], higher=self.higher)
            others = [judged[place] for place in sorted(places[: math.ceil(KEPT * len(judged))])]
        return [base, *others]

    def waiting(self, rung: int) -> list[Candidate]:
        """Return the candidates that still have to reach a rung."""
        return [c for c in self.running(rung) if len(c.scores) <= rung and c.fault is None]

    def unscored(self) -> list[Candidate]:
        """Return the candidates that are trained to the end, and not scored yet."""
        trained = [candidate for candidate in self.candidates if len(candidate.scores) == len(self.rungs)]
        return [candidate for candidate in trained if candidate.score is None and candidate.fault is None]

    def state(self, candidate: Candidate) -> str:
        """Return how far a candidate has come, in a few words."""
        rung = len(candidate.scores)
        if candidate.fault is not None:
            return "failed"
        if rung == len(self.rungs):
            return "trained" if candidate.score is None else "done"
        if rung and not self.waiting(rung - 1) and candidate not in self.running(rung):
            return f"dropped at {self.rungs[rung - 1]:.0%}"
        return f"at {self.rungs[rung - 1]:.0%}" if rung else "waits"

    def save(self, folder: Path) -> None:
        """Write `search.json`, atomically."""
        write_json(folder / FILE, asdict(self))


def open_search(
    base: Recipe, run: RunDir, vary: dict[str, list[str]], *, fold: int | None, halving: bool
) -> tuple[Search, Grid]:
    """Return the search of a folder, or a new one, and its grid of recipes.

    Args:
        vary: empty to continue the search that is there.
        fold: None for 0, or for that of the search that is there.

    Raises:
        ConfigError: there is no search to continue, or `vary` cannot be searched.
        MismatchError: the folder holds another search, or a training.
    """
    path = run.find_optional(FILE)
    if path is None and not vary:
        raise ConfigError(f"{run.path} holds no search: begin one with --vary FIELD=VALUE,VALUE")
    # A candidate goes on by `train --inputs` of this folder, which would take a training here for the candidate's.
    if trained := run.with_training():
        raise MismatchError(
            f"{trained[0]} holds a training, and a search needs a folder that is only prepared: run `imettk prepare` "
            "with another --run-dir, and begin the search there"
        )
    if path is None:
        grid = make_grid(base, vary)
        return begin_search(base, vary, grid, fold=fold or 0, halving=halving), grid
    known = read_search(path)
    changed = {
        "--vary": bool(vary) and vary != known.vary,
        "--fold": fold not in (None, known.fold),
        "--halving": halving and len(known.rungs) == 1,
    }
    earlier = from_json(json.dumps(known.recipe), where=f"{path}, recipe")
    names = [name for name, differs in changed.items() if differs]
    if fields := [*names, *differences(earlier, base, SCORE_SECTIONS)]:
        raise MismatchError(
            f"{path} is of a search with another recipe or other options ({'; '.join(fields)}): continue it with its "
            "own, or begin a new one with another --run-dir"
        )
    grid = make_grid(base, known.vary)
    expected = begin_search(base, known.vary, grid, fold=known.fold, halving=halving).candidates
    if [(c.name, c.values) for c in known.candidates] != [(c.name, c.values) for c in expected]:
        raise MismatchError(f"{path} is damaged, its candidates are others: {REMEDY}")
    return known, grid


def read_search(path: Path) -> Search:
    """Read what `Search.save` wrote; raise `MismatchError` if the file is damaged."""
    from pydantic import TypeAdapter, ValidationError

    content = read_json(path)
    try:
        search = TypeAdapter(Search).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise MismatchError(f"{path} is damaged ({place}: {first['msg']}): {REMEDY}") from None
    if search.rungs not in (RUNGS, WHOLE) or not search.vary:
        raise MismatchError(f"{path} is damaged (rungs {search.rungs}, {len(search.vary)} fields): {REMEDY}")
    return search


def rank(scores: Sequence[float], *, higher: bool) -> list[int]:
    """Return the places of scores, the best first; equal ones in their order, NaN last."""
    sign = -1 if higher else 1
    return sorted(range(len(scores)), key=lambda place: (math.isnan(scores[place]), sign * scores[place]))


def begin_search(base: Recipe, vary: dict[str, list[str]], grid: Grid, *, fold: int, halving: bool) -> Search:
    """Return a search in which nothing is trained yet."""
    names = [BASE, *(f"candidate{number}" for number in range(1, len(grid)))]
    candidates = [Candidate(name, values) for name, (values, _) in zip(names, grid, strict=True)]
    content = json.loads(to_json(base))
    scored = {name: content[name] for name in SCORE_SECTIONS}
    return Search(scored, vary, fold, base.scorer.higher, RUNGS if halving else WHOLE, candidates)


def find_rungs(validations: Sequence[int], rungs: Sequence[float]) -> list[int]:
    """Return the step of each rung: the first one with a validation at or beyond its share of the schedule.

    Args:
        validations: steps at which a training is validated, rising; the last one ends it.
    """
    return [next(step for step in validations if step >= share * validations[-1]) for share in rungs]


def require_alike(steps: Mapping[str, Sequence[int]], search: Search) -> None:
    """Raise `ConfigError` if candidates would be judged at unlike shares of their schedules.

    Args:
        steps: of the rungs, by name of the candidate.
    """
    shares = {name: [step / rungs[-1] for step in rungs] for name, rungs in steps.items()}
    for candidate in search.candidates:
        given, base = shares.get(candidate.name, shares[BASE]), shares[BASE]
        if len(set(given)) == len(given) and all(abs(a - b) <= ALIKE for a, b in zip(given, base, strict=True)):
            continue
        listed = ["/".join(f"{share:.0%}" for share in part) for part in (search.rungs, given, base)]
        raise ConfigError(
            f"--halving judges candidates at {listed[0]} of their steps, and with its validations {candidate.title} "
            f"would be judged at {listed[1]}, the base at {listed[2]}: set --train.validate-epochs lower"
        )
