"""Standings of a search: a table of its candidates, compared with the base in pairs, and a conclusion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imettk.errors import MismatchError, MissingFileError
from imettk.evaluation.paired import Judged, compare_judged, read_judged
from imettk.experiment.candidates import BASE, Candidate, Search, rank
from imettk.metrics import Scorer
from imettk.metrics.paired import PairedScores

HEAD = ("difference to base", "95% interval", "verdict", "seconds")


@dataclass(frozen=True)
class Standings:
    """The candidates of a search that are scored, compared with two of them.

    Attributes:
        best: name of the candidate with the best score.
        with_base: comparisons with the base, by name.
        with_best: comparisons with the best.
        faults: a line on each comparison that cannot be made.
    """

    best: str
    with_base: dict[str, PairedScores]
    with_best: dict[str, PairedScores]
    faults: list[str]

    @property
    def equals(self) -> list[str]:
        """Names of the candidates that do not stand out from the best one."""
        return [name for name, paired in self.with_best.items() if verdict_of(paired) == "equal"]


def compare_candidates(search: Search, scorer: Scorer, folders: Mapping[str, Path]) -> Standings:
    """Compare the scored candidates with the base and with the best one, on the rows that both validated.

    Args:
        folders: of the candidates, by name.
    """
    scored = [candidate for candidate in search.candidates if candidate.score is not None]
    best = scored[rank([candidate.score or 0.0 for candidate in scored], higher=search.higher)[0]].name
    judged: dict[str, Judged] = {}
    faults = []
    for candidate in scored:
        try:
            judged[candidate.name] = read_judged(folders[candidate.name])
        except (MissingFileError, MismatchError) as error:
            faults.append(f"{candidate.name} is not compared: {error}")
    with_base = _compare_with(BASE, judged, scorer)
    with_best = with_base if best == BASE else _compare_with(best, judged, scorer)
    return Standings(best, with_base, with_best, faults)


def _compare_with(name: str, judged: Mapping[str, Judged], scorer: Scorer) -> dict[str, PairedScores]:
    """Compare every candidate with this one."""
    others = [other for other in judged if other != name and name in judged]
    return {other: compare_judged(scorer, judged[name], judged[other], names=(name, other)) for other in others}


def verdict_of(paired: PairedScores) -> str:
    """Return `better` or `worse` if the interval of the difference excludes 0, else `equal`; `unknown` without one."""
    if math.isnan(paired.low):
        return "unknown"
    if paired.low <= 0 <= paired.high:
        return "equal"
    return "better" if (paired.difference > 0) == paired.higher else "worse"


def table_of(search: Search, standings: Standings, title: str, seconds: Mapping[str, float]) -> str:
    """Return the table of a search, a line for each candidate.

    Args:
        title: the metric's name in print.
        seconds: that each candidate has trained, by name.
    """
    rows: list[Sequence[str]] = [("candidate", *search.vary, title, *HEAD)]
    for candidate in search.candidates:
        cells = _compared(search, candidate, standings.with_base.get(candidate.name))
        rows.append((candidate.name, *candidate.values.values(), *cells, f"{seconds[candidate.name]:.0f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _compared(search: Search, candidate: Candidate, paired: PairedScores | None) -> tuple[str, str, str, str]:
    """Return score, difference, interval and verdict; those of a dropped candidate are of the rung that it reached."""
    score, difference, interval = candidate.score, "-", "-"
    verdict = "-" if candidate.score is not None else search.state(candidate)
    base = search.candidates[0].scores
    if score is None and candidate.scores:
        score = candidate.scores[-1]
        if len(base) >= len(candidate.scores):
            difference = f"{score - base[len(candidate.scores) - 1]:+.4f}"
    if paired is not None:
        difference, verdict = f"{paired.difference:+.4f}", verdict_of(paired)
        interval = f"{paired.low:+.4f} to {paired.high:+.4f}"
    return "-" if score is None else f"{score:.4f}", difference, interval, verdict


def conclude(standings: Standings, run_dir: Path, seconds: Mapping[str, float]) -> list[str]:
    """Return lines on the best candidate, those that equal it, and the next command."""
    best, equals = standings.best, standings.equals
    more_folds = f"`imettk train --run-dir {run_dir / best} --inputs {run_dir}` trains its other folds"
    lines = [f"best: {best}"]
    if equals:
        cheapest = min([best, *equals], key=lambda name: seconds[name])
        lines[0] += f"; not to be told from it on these rows: {', '.join(equals)} ({cheapest} took the least time)"
    if best == BASE:
        lines.append("next: keep the base, and vary something else")
    elif BASE in equals:
        lines.append(f"next: keep the base, or look at {best} on more rows: {more_folds}")
    else:
        lines.append(f"next: confirm {best} on more rows, as the best of several is lucky too: {more_folds}")
    return lines
