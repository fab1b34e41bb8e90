"""Candidates of a search, the points at which they are judged, and the file of their scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from imettk.config import Recipe, fingerprint
from imettk.errors import MismatchError
from imettk.experiment.grid import Grid
from imettk.tracking.files import read_json, write_json

FILE = "search.json"
BASE = "base"  # the candidate with the recipe as it was given
RUNGS = (0.25, 0.5, 1.0)  # shares of its schedule after which a candidate of a successive halving is judged
KEPT = 0.5  # the share of candidates that goes on beyond a rung


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
        recipe: fingerprint of the base.
        vary: field -> its values, as text.
        higher: whether a higher score is better.
        rungs: rising shares of the schedule, the last one 1.
        candidates: the base first.
    """

    recipe: str
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


def read_search(path: Path) -> Search:
    """Read what `Search.save` wrote; raise `MismatchError` if the file is damaged."""
    content = read_json(path, needs=("recipe", "vary", "fold", "higher", "rungs", "candidates"))
    try:
        candidates = [Candidate(**values) for values in content["candidates"]]
        return Search(**content | {"rungs": tuple(content["rungs"]), "candidates": candidates})
    except TypeError as error:
        raise MismatchError(f"{path} is damaged ({error}): delete it, what is trained is kept") from None


def rank(scores: Sequence[float], *, higher: bool) -> list[int]:
    """Return the places of scores, the best first; equal ones in their order, NaN last."""
    sign = -1 if higher else 1
    return sorted(range(len(scores)), key=lambda place: (math.isnan(scores[place]), sign * scores[place]))


def begin_search(base: Recipe, vary: dict[str, list[str]], grid: Grid, *, fold: int, halving: bool) -> Search:
    """Return a search in which nothing is trained yet."""
    names = [BASE, *(f"candidate{number}" for number in range(1, len(grid)))]
    candidates = [Candidate(name, values) for name, (values, _) in zip(names, grid, strict=True)]
    rungs = RUNGS if halving else (1.0,)
    return Search(fingerprint(base), vary, fold, base.scorer.higher, rungs, candidates)


def find_rungs(validations: Sequence[int], rungs: Sequence[float]) -> list[int]:
    """Return the step of each rung: the first one with a validation at or beyond its share of the schedule.

    Args:
        validations: steps at which a training is validated, rising; the last one ends it.
    """
    return [next(step for step in validations if step >= share * validations[-1]) for share in rungs]
