"""Folders and files of a competition, without hidden ones and run folders of imettk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imettk.data.csv_files import is_utf8, list_names

MAX_DEPTH = 5  # levels of folders that are searched
# Files of a run folder, in which any further table or picture was written by imettk, not by the competition.
RECIPE, RUN_TABLES = "recipe.json", frozenset(("table.json", "folds.csv"))


@dataclass
class Skipped:
    """Entries of a folder that were passed over.

    Attributes:
        odd: pipes, broken links, and entries whose names are not UTF-8.
        runs: run folders of imettk.
        unread: why a folder cannot be read, one line each.
    """

    odd: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield a line about odd entries, and one about run folders."""
        if self.odd:
            what = "that are neither files nor folders, or whose names are not UTF-8"
            yield f"passed over {list_names(sorted(self.odd), 'path')} {what}"
        if self.runs:
            yield f"passed over {list_names(sorted(self.runs), 'run folder')} of imettk: keep runs outside of the data"


def walk(data_dir: Path, folder: str, skipped: Skipped) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and those below it with their files, sorted, without hidden ones and those of runs."""
    folders, files = [], []
    try:
        entries = [entry for entry in os.scandir(data_dir / folder) if not entry.name.startswith(".")]
    except OSError as error:
        skipped.unread.append(f"{data_dir / folder} cannot be read: {error.strerror}")
        return
    # A run in the competition's own folder is mixed with the data, so that folder is never passed over.
    if folder != "." and _is_run({entry.name for entry in entries}):
        skipped.runs.append(folder)
        return
    for entry in entries:
        path = path_in(folder, entry.name)
        if not is_utf8(entry.name):
            skipped.odd.append(path)
        elif entry.is_dir():
            folders.append(path)
        elif entry.is_file():
            files.append(entry.name)
        else:
            skipped.odd.append(path)
    yield folder, sorted(files)
    if folder.count("/") < MAX_DEPTH:
        for inner in sorted(folders):
            yield from walk(data_dir, inner, skipped)


def _is_run(names: set[str]) -> bool:
    """Return whether a folder with entries of these names is a run folder of imettk."""
    return RECIPE in names and not RUN_TABLES.isdisjoint(names)


def path_in(folder: str, name: str) -> str:
    """Return the path of a file in a folder."""
    return name if folder == "." else f"{folder}/{name}"
