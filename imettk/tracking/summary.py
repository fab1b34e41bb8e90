"""A run folder as plain values: all that the log is built from, and may be rebuilt from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imettk.config import Recipe, fingerprint, read_recipe
from imettk.errors import MismatchError
from imettk.tracking.files import read_json
from imettk.tracking.journal import Journal, is_number, read_journal

FACTS = "ledger.jsonl"  # what only the user knows: leaderboard scores, notes
CHAIN = "chain.json"
CURVES = {"train": ("loss", "lr"), "validate": ("loss", "score")}  # event -> its fields that are drawn


@dataclass(frozen=True)
class FoldSummary:
    """The training of a fold, read from its journal.

    Attributes:
        journal: the path of the journal.
        started: start of the first session, in seconds since the epoch. All copies of a journal share it, so that it
            identifies the training.
        lines: length of the journal, which tells an old copy from a newer one.
        hours: time in sessions, each from its start to its last event.
        codes: versions of the code that trained it, in order.
        curves: (seconds since the epoch, step, value) by name, such as `train/loss`.
    """

    fold: int
    journal: Path
    started: float
    lines: int
    sessions: int
    hours: float
    step: int
    num_steps: int
    codes: tuple[str, ...]
    curves: dict[str, list[tuple[float, int, float]]]


@dataclass(frozen=True)
class RunSummary:
    """A run, read from its folder.

    Attributes:
        scores: content of `scores.json`; empty before `validate`.
        facts: the last fact of each kind in `ledger.jsonl`.
        chain: content of `chain.json`; empty if the run was not a chain of kernels.
    """

    folder: Path
    recipe: Recipe
    fingerprint: str
    folds: dict[int, FoldSummary]
    scores: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    chain: dict[str, Any] = field(default_factory=dict)

    @property
    def started(self) -> float:
        """Start of the first fold, or the time at which the recipe was written if no fold has trained."""
        starts = [fold.started for fold in self.folds.values()]
        return min(starts, default=(self.folder / "recipe.json").stat().st_mtime)

    @property
    def name(self) -> str:
        """6 hex digits, by which the command line names the run."""
        return _name(f"{self.fingerprint} {self.started}") if self.folds else self.name_before_training

    @property
    def name_before_training(self) -> str:
        """The name of the run before its training began, when only its folder told it from others."""
        return _name(str(self.folder.resolve()))

    @property
    def kernels(self) -> list[str]:
        """Kernels whose output was used, as slug/version."""
        jobs = self.chain.get("jobs", [])
        return [f"{job['slug']}/{job['version']}" for job in jobs if job["state"] in ("running", "paused", "done")]


def summarise(folder: Path) -> RunSummary:
    """Read a run folder.

    Raises:
        MissingFileError, ConfigError: it has no recipe, or one of a newer version.
        MismatchError: a file in it is damaged.
    """
    recipe = read_recipe(folder / "recipe.json")
    folds = [fold for path in find_journals([folder]).values() if (fold := summarise_fold(path)) is not None]
    return RunSummary(
        folder=folder,
        recipe=recipe,
        fingerprint=fingerprint(recipe),
        folds={fold.fold: fold for fold in folds},
        scores=_read_scores(folder / "scores.json"),
        facts=read_facts(folder),
        chain=_read_chain(folder / CHAIN),
    )


def _read_scores(path: Path) -> dict[str, Any]:
    """Read `scores.json` and check the type of each value that the log takes."""
    scores = read_json(path) or {}
    folds, interval = scores.get("folds", {}), scores.get("interval") or [0, 0]
    numbers = [value for name in ("oof", "test") if (value := scores.get(name)) is not None]
    numbers += list(folds.values()) if isinstance(folds, dict) else [None]
    parts = list(scores.get("parts", {}).values()) if isinstance(scores.get("parts", {}), dict) else [None]
    numbers += [value for part in parts for value in (part.values() if isinstance(part, dict) else [None])]
    numbers += interval if isinstance(interval, list) and len(interval) == 2 else [None]
    if not all(map(is_number, numbers)) or not isinstance(scores.get("metric", ""), str):
        raise MismatchError(f"{path} is damaged, its scores are not numbers: run `imettk validate` again")
    return scores


def _read_chain(path: Path) -> dict[str, Any]:
    """Read `chain.json` and check the fields of its jobs that the log takes."""
    chain = read_json(path) or {}
    kinds: dict[str, Any] = {"slug": str, "version": int, "state": str, "seconds": (int, float), "gpu": bool}
    jobs = chain.get("jobs", [])
    if not isinstance(jobs, list) or not all(
        isinstance(job, dict) and all(isinstance(job.get(name), kind) for name, kind in kinds.items()) for job in jobs
    ):
        raise MismatchError(f"{path} is damaged, its `jobs` are not the sessions of a chain")
    return chain


def write_fact(folder: Path, kind: str, **values: Any) -> None:
    """Append a fact about a run; it replaces an earlier one of the same kind.

    Raises:
        MissingFileError: the folder holds no recipe.
    """
    read_recipe(folder / "recipe.json")  # raises before a file is made in a folder that is not a run
    with closing(Journal(folder / FACTS)) as facts:
        facts.write(kind, **values)


def read_facts(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the last fact of each kind."""
    try:
        lines = (folder / FACTS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    facts = {}
    for number, line in enumerate(lines, start=1):
        try:
            fact = json.loads(line)
            values = [value for name in ("public", "private") if (value := fact.get(name)) is not None]
            if not all(map(is_number, values)) or not isinstance(fact.get("text", ""), str):
                raise ValueError
            facts[str(fact["event"])] = fact
        except (ValueError, KeyError, TypeError, AttributeError):
            if number < len(lines):  # the last line may have been cut by a kill
                raise MismatchError(f"{folder / FACTS} line {number} is damaged") from None
    return facts


def _name(what: str) -> str:
    return hashlib.sha256(what.encode()).hexdigest()[:6]


def find_journals(folders: Sequence[Path]) -> dict[int, Path]:
    """Return the journal of each fold; of several copies the longest, because journals only grow."""
    journals: dict[int, Path] = {}
    for path in (path for folder in folders for path in folder.glob("fold*/journal.jsonl")):
        if (number := path.parent.name[4:]).isdecimal():  # other names are copies that were set aside
            known = journals.get(int(number))
            if known is None or path.stat().st_size > known.stat().st_size:
                journals[int(number)] = path
    return dict(sorted(journals.items()))


def summarise_fold(path: Path) -> FoldSummary | None:
    """Summarise a fold's journal; return None before its first session.

    Raises:
        MismatchError: the journal is damaged.
    """
    events = read_journal(path)
    starts = [event for event in events if event["event"] == "session"]
    if not starts:
        return None
    _check_events(path, events, starts)
    curves: dict[str, list[tuple[float, int, float]]] = {}
    seconds, before = 0.0, None
    for event in events:
        if event["event"] != "session" and before is not None:  # before a session lies a pause, which may take days
            seconds += event["time"] - before
        before = event["time"]
        for name in CURVES.get(event["event"], ()):
            if is_number(event.get(name)):  # the score of an empty validation is NaN
                curve = curves.setdefault(f"{event['event']}/{name}", [])
                curve.append((event["time"], event["step"], float(event[name])))
    return FoldSummary(
        fold=int(path.parent.name[4:]),
        journal=path,
        started=starts[0]["time"],
        lines=path.read_bytes().count(b"\n"),
        sessions=len(starts),
        hours=seconds / 3600,
        step=max(event.get("step", 0) for event in events),
        num_steps=starts[-1]["num_steps"],
        codes=tuple(dict.fromkeys(start["code"] for start in starts if "code" in start)),
        curves=curves,
    )


def _check_events(path: Path, events: list[dict[str, Any]], starts: list[dict[str, Any]]) -> None:
    """Raise `MismatchError` if an event lacks a field that the summary reads, or has one of another type."""
    if not all(isinstance(start.get("num_steps"), int) and isinstance(start.get("code", ""), str) for start in starts):
        raise MismatchError(f"{path} is damaged, a session has no `num_steps`, or its `code` is not text")
    for event in events:
        for name in CURVES.get(event["event"], ()):
            if not isinstance(event.get(name, 0.0), (int, float, type(None))) or "step" not in event:
                raise MismatchError(f"{path} is damaged, a {event['event']} event has no {name} or no step")
