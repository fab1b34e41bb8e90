"""`report.html`: what happened in a run, or in several side by side, as one page that needs nothing else.

It reads only what the stages wrote: no model, no images but the small ones that `validate` keeps. The page opens
offline, on a telephone too, and fetches nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

from imettk.config import Recipe, differences
from imettk.errors import ConfigError, MissingFileError
from imettk.files import write_atomically
from imettk.tracking.report_parts import MOST_LABELS, Parts

REPORT = "report.html"
MOST_BYTES = 5_000_000
# Pictures of each kind and labels of each run that are shown: the first pair whose page is small enough.
AMOUNTS = ((24, MOST_LABELS), (12, MOST_LABELS), (6, 500), (2, 200), (0, 50))


def write_report(folders: Sequence[Path], out: Path, *, inputs: Sequence[Path] = ()) -> list[str]:
    """Write the page.

    Args:
        folders: run folders, one or several.
        inputs: folders of earlier kernels, where files are looked for that a single run folder lacks.

    Returns:
        What is missing or damaged in the runs, a line each: the page names it as well.

    Raises:
        MissingFileError: a folder is none, or holds nothing of a run.
        ConfigError: inputs for several runs, or the page cannot be written there.
    """
    if inputs and len(folders) > 1:
        raise ConfigError("--inputs hold files of one RUN_DIR; several are read from their own folders alone")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder: give a file, such as {out / REPORT}")
    for folder in folders:
        if not folder.is_dir():
            raise MissingFileError(f"{folder} is no folder: give the run folder of `imettk prepare` and what followed")
    runs = [Parts(folder, inputs) for folder in folders]
    for run in runs:
        if run.recipe is None and not run.scores and not run.folds:
            raise MissingFileError(f"{run.folder} holds no run: {'; '.join(run.faults)}")
    page = next(_pages(runs))
    try:
        write_atomically(out, page)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}): give --out another place") from None
    return [f"{run.name}: {fault}" if len(runs) > 1 else fault for run in runs for fault in run.faults]


def _pages(runs: Sequence[Parts]) -> Iterator[bytes]:
    """The page with as much as it may hold; with the least of all, whatever its size."""
    from jinja2 import Environment, StrictUndefined

    source = files("imettk.tracking").joinpath(REPORT).read_text(encoding="utf-8")  # a kernel may run from a zip
    rules = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = rules.from_string(source)
    for pictures, labels in AMOUNTS:
        page = template.render(
            runs=runs,
            compared=_compare(runs),
            differences=_differences(runs),
            made=time.strftime("%Y-%m-%d %H:%M"),
            trimmed=pictures < AMOUNTS[0][0],
            most_pictures=pictures,
            most_labels=labels,
        ).encode(errors="replace")  # an id may be a file name that is no text
        if len(page) < MOST_BYTES or pictures == AMOUNTS[-1][0]:
            yield page


def _compare(runs: Sequence[Parts]) -> list[tuple[str, list[str]]]:
    """Facts of all runs, a row each."""
    facts = [dict(run.facts) for run in runs]
    names = dict.fromkeys(name for one in facts for name in one)
    return [(name, [one.get(name, "") for one in facts]) for name in names]


def _differences(runs: Sequence[Parts]) -> list[tuple[str, str]]:
    """Fields of the recipes that are not as in the first one: the run, and the field with both values."""
    recipes = [(run.title, run.recipe) for run in runs if run.recipe is not None]
    everything = tuple(field.name for field in fields(Recipe))
    unknown = [(run.name, "its recipe cannot be read") for run in runs if run.recipe is None]
    return unknown + [
        (title, line) for title, recipe in recipes[1:] for line in differences(recipes[0][1], recipe, everything)
    ]
