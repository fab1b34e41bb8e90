"""`imettk log`: a table of all runs with CV and LB, a comparison of two of them, and a picture of CV against LB."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imettk.errors import MissingFileError, UserError
from imettk.progress import say
from imettk.tracking.ledger import DATABASE, Entry, find_entry, open_ledger
from imettk.tracking.summary import summarise, write_fact

HEAD = ("run", "name", "recipe", "folds", "sessions", "hours", "CV", "95% interval", "LB", "private", "note")
NOTE = 24  # characters of a note that the table shows
SCORES = ("oof", "test", "lb_public", "lb_private", "hours", "sessions")


def run_log(arguments: argparse.Namespace) -> None:
    """Run an action of `imettk log`, then print the table (or the comparison)."""
    store: Path = arguments.store
    if arguments.action == "import":
        import_runs(arguments.folders, store)
    elif arguments.action == "note":
        write_fact(arguments.folder, "note", text=arguments.text)
        import_runs([arguments.folder], store)
    elif arguments.action == "lb":
        write_fact(arguments.folder, "lb", public=arguments.public, private=arguments.private)
        import_runs([arguments.folder], store)
    elif not (store / DATABASE).is_file():
        raise MissingFileError(f"{store} holds no log yet: `imettk log import RUN_DIR ...` creates one")
    with open_ledger(store) as ledger:
        entries = ledger.entries()
    if arguments.action == "compare":
        first, second = (find_entry(entries, name) for name in (arguments.first, arguments.second))
        say("\n".join([compare(first, second), *_paired(first, second)]))
        return
    say(table(entries))
    if arguments.plot is not None:
        plot(entries, arguments.plot)
        say(f"CV against LB: {arguments.plot}")


def import_runs(folders: Sequence[Path], store: Path) -> None:
    """Import run folders into the log; print a line for each."""
    runs = [summarise(folder) for folder in folders]  # all first: a damaged one stops the import before it writes
    with open_ledger(store) as ledger:
        for run in runs:
            say(f"{run.folder}: {run.name}, {ledger.take(run)}")


def take_into_log(folders: Sequence[Path], store: Path) -> None:
    """Import what are run folders among these; if that fails, print the command that does it later."""
    if not (runs := [folder for folder in folders if (folder / "recipe.json").is_file()]):
        return
    try:
        import_runs(runs, store)
    except (UserError, OSError) as error:
        words = ["imettk", "log", "--store", str(store), "import", *map(str, runs)]
        say(f"not in the log: {error}; run `{shlex.join(words)}` later")


def table(entries: Sequence[Entry]) -> str:
    """Return the table: a line for each run, the oldest first, with dashes for unknown values."""
    rows = [HEAD, *(_row(entry) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def compare(first: Entry, second: Entry) -> str:
    """Return the scores of two runs side by side, and every field in which their recipes differ."""
    lines = [f"{'':<28}{first.name:<24}{second.name}"]
    for name in SCORES:
        if name in first.metrics or name in second.metrics:
            cells = [_number(entry.metrics.get(name)) for entry in (first, second)]
            lines.append(f"{name:<28}{cells[0]:<24}{cells[1]}")
    names = list(dict.fromkeys((*first.recipe, *second.recipe)))
    fields = [(name, *(entry.recipe.get(name, "-") for entry in (first, second))) for name in names]
    changed = [f"{name:<28}{old:<24}{new}" for name, old, new in fields if old != new]
    return "\n".join([*lines, *(changed or ["the recipes are the same"])])


def _paired(first: Entry, second: Entry) -> list[str]:
    """Return lines on the paired comparison of two runs; none before both are validated."""
    from imettk.commands.compare_runs import describe_difference

    if not all("oof" in entry.metrics and "folder" in entry.tags for entry in (first, second)):
        return []
    return describe_difference(*(Path(entry.tags["folder"]) for entry in (first, second)))


def plot(entries: Sequence[Entry], path: Path) -> None:
    """Draw CV against LB of the runs that have both.

    Raises:
        UserError: no run has both.
    """
    from imettk.pictures.plots import draw_leaderboard

    both = [entry for entry in entries if {"oof", "lb_public"} <= set(entry.metrics)]
    if not both:
        raise UserError("no run has both a CV and an LB score: `imettk log lb RUN_DIR SCORE` records an LB score")
    values = [
        [entry.metrics.get(name, np.nan) for name in ("oof", "oof_low", "oof_high", "lb_public")] for entry in both
    ]
    numbers = np.array(values)
    draw_leaderboard(path, [entry.name for entry in both], numbers[:, 0], numbers[:, 1:3], numbers[:, 3])


def _row(entry: Entry) -> tuple[str, ...]:
    """Return a run's cells of the table."""
    values, folds = entry.metrics, entry.recipe.get("folds.num_folds", "?")
    low, high = values.get("oof_low"), values.get("oof_high")
    return (
        entry.name,
        entry.recipe.get("name", "-")[:20],
        entry.tags.get("fingerprint", "-")[:8],
        f"{values.get('folds_done', 0):.0f}/{folds}",
        f"{values.get('sessions', 0):.0f}",
        f"{values.get('hours', 0):.1f}",
        _number(values.get("oof")),
        "-" if low is None or high is None else f"{low:.4f} {high:.4f}",
        _number(values.get("lb_public")),
        _number(values.get("lb_private")),
        entry.tags.get("note", "")[:NOTE] or "-",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
