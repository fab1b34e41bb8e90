"""Standings of a search: a table of its candidates, compared with the base in pairs, and a conclusion."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imettk.errors import UserError
from imettk.evaluation.paired import Judged, compare_judged, read_judged_file
from imettk.experiment.candidates import BASE, Candidate, Search, rank
from imettk.files import write_atomically
from imettk.metrics import Scorer
from imettk.metrics.paired import PairedScores
from imettk.progress import say
from imettk.tracking.run_dir import JUDGED, JUDGED_BY_TRY, RunDir

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

    @property
    def conclusive(self) -> bool:
        """True if the best candidate is compared with the base, or the base, as the best, with any other."""
        names = self.with_base if self.best == BASE else [self.best]
        return any(verdict_of(self.with_base[name]) != "unknown" for name in names if name in self.with_base)


def keep_judged_for_search(run: RunDir) -> None:
    """Copy `judged.safetensors` of a candidate, just validated on the search's fold alone.

    Other views, rules or folds that are validated later change that file, and not this copy. Without room for it, it is
    left out with a note.
    """
    path, copy = run.path / JUDGED, run.path / JUDGED_BY_TRY
    copy.unlink(missing_ok=True)
    if not path.is_file():
        return
    try:
        write_atomically(copy, path.read_bytes())
    except OSError as error:
        say(f"warning: no {JUDGED_BY_TRY}, which the comparison with other candidates needs: {error}")


def compare_candidates(search: Search, scorer: Scorer, runs: Mapping[str, RunDir]) -> Standings:
    """Compare the scored candidates with the base and with the best one, on the rows that both validated.

    Args:
        runs: of the candidates, by name; their inputs have what earlier folders of the search hold.
    """
    scored = [(candidate.name, candidate.score) for candidate in search.candidates if candidate.score is not None]
    best = scored[rank([score for _, score in scored], higher=search.higher)[0]][0]
    judged: dict[str, Judged] = {}
    faults: list[str] = []
    for name, _ in scored:
        try:
            path = runs[name].find_optional(JUDGED_BY_TRY)
            if path is not None:
                judged[name] = read_judged_file(path)
            else:
                faults.append(f"{name} is not compared: {runs[name].path} has no {JUDGED_BY_TRY}")
        except UserError as error:
            faults.append(f"{name} is not compared: {error}")
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


def conclude(standings: Standings, run: RunDir, data_dir: Path, seconds: Mapping[str, float]) -> list[str]:
    """Return lines on the best candidate, those that equal it, and the next command.

    Args:
        run: of the best candidate.
    """
    best, equals = standings.best, standings.equals
    if not standings.conclusive:
        if best == BASE:
            return ["no conclusion: nothing could be compared with the base"]
        return [f"no conclusion: {best} has the best score, but could not be compared with the base"]
    more_folds = f"`{training_command(run, data_dir)}` trains its other folds"
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


def training_command(run: RunDir, data_dir: Path) -> str:
    """Return the command that trains a run."""
    # The recipe is named, as the search among the inputs has the base's.
    saved = (folder / "recipe.json" for folder in (run.path, *run.inputs))
    recipe = next((path for path in saved if path.is_file()), run.path / "recipe.json")
    inputs = map(str, run.inputs)
    return shlex.join(
        ["imettk", "train", str(recipe), "--data", str(data_dir), "--run-dir", str(run.path), "--inputs", *inputs]
    )
