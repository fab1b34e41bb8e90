"""Facts of a run for its report: scores first, then what was trained, and where it lies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from imettk.metrics.meanings import meaning_of
from imettk.tracking.messages import format_duration
from imettk.tracking.summary import FoldSummary, RunSummary


class Fact(NamedTuple):
    """A name, its value as text, and what the name means, if that needs saying."""

    name: str
    value: str
    meaning: str = ""


def score_facts(scores: dict[str, Any], metric: str) -> list[Fact]:
    """Return what `scores.json` says of the whole run; `metric` is the metric's name in print."""
    if not scores:
        return []
    low, high = scores.get("interval") or (None, None)
    interval = "" if low is None else f" (95%: {low:.4f} to {high:.4f})"
    facts = [Fact(f"OOF {metric}", f"{scores['oof']:.4f}{interval}", meaning_of(scores["metric"]))]
    if (constant := scores.get("constant")) is not None:
        meaning = "What the best answer that is the same for every row scores: a model has to beat it."
        facts.append(Fact("best constant answer", f"{constant:.4f}", meaning))
    return facts


def noted_facts(facts: dict[str, dict[str, Any]]) -> list[Fact]:
    """Return what only the user knows: leaderboard scores and a note, from `ledger.jsonl`."""
    board = facts.get("lb", {})
    rows = [*((f"LB {side}", board.get(side)) for side in ("public", "private"))]
    rows.append(("note", facts.get("note", {}).get("text")))
    return [Fact(name, str(value)) for name, value in rows if value not in (None, "")]


def training_facts(run: RunSummary | None, folds: Iterable[FoldSummary]) -> list[Fact]:
    """Return how much was trained, in how long, and by which code; `run` is None if its recipe cannot be read."""
    facts, trained = [], list(folds)
    if trained:
        done = sum(fold.step >= fold.num_steps for fold in trained)
        seconds = 3600 * sum(fold.hours for fold in trained)
        facts = [
            Fact("folds trained", f"{done}" if run is None else f"{done} of {run.recipe.folds.num_folds}"),
            Fact("sessions", str(sum(fold.sessions for fold in trained))),
            Fact("time in sessions", f"{seconds:.0f} s" if seconds < 90 else format_duration(seconds)),
            Fact("code", ", ".join(dict.fromkeys(code[:12] for fold in trained for code in fold.codes))),
        ]
    if run is not None:
        facts.append(Fact("fingerprint", run.fingerprint, "A hash of what the weights depend on in the recipe."))
    return [fact for fact in facts if fact.value]
