"""`report.html`: a run, or several side by side, as one self-contained page.

It reads only what the commands wrote: no model, and no images except the small ones that `validate` keeps. The page
opens offline, on a phone too, and fetches nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from imettk.config import Recipe, differences
from imettk.errors import ConfigError, MissingFileError, UserError
from imettk.files import write_atomically
from imettk.metrics.paired import PairedScores
from imettk.tracking.report_parts import Parts
from imettk.tracking.report_tables import MOST_LABELS

REPORT = "report.html"
MOST_BYTES = 5_000_000  # a page that a phone opens and a notebook's output tab shows
# Pictures of each kind and rows of the table of labels: the first pair whose page is small enough is used.
AMOUNTS = ((24, MOST_LABELS), (12, MOST_LABELS), (6, 500), (2, 200), (0, 50))
PAIRED_MEANING = (
    "Both runs are scored on the same bootstrap samples of the rows that both validated. The interval covers the "
    "choice of rows, not another training seed."
)
Compare = Callable[[Path, Path], PairedScores]


class PairedRow(NamedTuple):
    """A run compared with the first one, as text."""

    title: str
    difference: str
    interval: str
    rows: str
    verdict: str


def write_report(
    folders: Sequence[Path], out: Path, *, inputs: Sequence[Path] = (), compare: Compare | None = None
) -> list[str]:
    """Write the page.

    Args:
        folders: run folders, one or several.
        inputs: outputs of earlier kernels, searched for files that a single run folder lacks.
        compare: compares the scores of two run folders, or raises `UserError`; None leaves the comparison out.

    Returns:
        A line for each file that is missing or damaged, which the page names as well.

    Raises:
        MissingFileError: a folder does not exist, or holds no run.
        ConfigError: inputs are given for several runs, or the page cannot be written.
    """
    if inputs and len(folders) > 1:
        raise ConfigError("--inputs adds files to a single RUN_DIR; several runs are read from their own folders only")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder: give a file, such as {out / REPORT}")
    for folder in folders:
        if not folder.is_dir():
            raise MissingFileError(f"{folder} is not a folder: give the run folder that `imettk prepare` made")
    runs = [Parts(folder, inputs) for folder in folders]
    for run in runs:
        if run.recipe is None and not run.scores and not run.folds:
            raise MissingFileError(f"{run.folder} holds no run: {'; '.join(run.faults)}")
    paired = [] if compare is None else [_pair(runs[0], run, compare) for run in runs[1:]]
    page = next(_pages(runs, paired))
    try:
        write_atomically(out, page)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}): give another --out") from None
    return [f"{run.name}: {fault}" if len(runs) > 1 else fault for run in runs for fault in run.faults]


def light_colours() -> str:
    """Return the page's CSS variables of its light theme, for a chart that stands elsewhere."""
    return _template().partition(":root { color-scheme: light dark;")[2].partition("}")[0].strip()


def _template() -> str:
    # Not by path: in a kernel the package may be imported from a zip.
    return files("imettk.tracking").joinpath(REPORT).read_text(encoding="utf-8")


def _pages(runs: Sequence[Parts], paired: Sequence[PairedRow]) -> Iterator[bytes]:
    """Yield the page with as much content as fits `MOST_BYTES`; the last one is yielded whatever its size."""
    from jinja2 import Environment, StrictUndefined

    rules = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = rules.from_string(_template())
    for pictures, labels in AMOUNTS:
        page = template.render(
            runs=runs,
            compared=_compare_facts(runs),
            paired=paired,
            paired_meaning=PAIRED_MEANING,
            differences=_differences(runs),
            made=time.strftime("%Y-%m-%d %H:%M"),
            trimmed=pictures < AMOUNTS[0][0],
            most_pictures=pictures,
            most_labels=labels,
        ).encode(errors="replace")  # an id may be a file name that is not valid Unicode
        if len(page) < MOST_BYTES or pictures == AMOUNTS[-1][0]:
            yield page


def _compare_facts(runs: Sequence[Parts]) -> list[tuple[str, list[str]]]:
    """Return each fact's name with its values in all runs."""
    values = [{fact.name: fact.value for fact in run.facts} for run in runs]
    names = dict.fromkeys(name for facts in values for name in facts)
    return [(name, [facts.get(name, "") for facts in values]) for name in names]


def _pair(first: Parts, run: Parts, compare: Compare) -> PairedRow:
    """Compare a run's score with that of the first run; the reason if that is not possible."""
    try:
        paired = compare(first.folder, run.folder)
    except (UserError, OSError) as error:
        return PairedRow(run.title, "", "", "", f"Not compared: {error}")
    interval = f"{paired.low:+.4f} to {paired.high:+.4f}"
    verdict = paired.verdict.replace("The second run", "This run")
    return PairedRow(run.title, f"{paired.difference:+.4f}", interval, f"{paired.rows:,}", verdict)


def _differences(runs: Sequence[Parts]) -> list[tuple[str, str]]:
    """Return the recipe fields that differ from the first run's: the run's title, and the field with both values."""
    recipes = [(run.title, run.recipe) for run in runs if run.recipe is not None]
    sections = tuple(field.name for field in fields(Recipe))
    unknown = [(run.name, "its recipe cannot be read") for run in runs if run.recipe is None]
    return unknown + [
        (title, line) for title, recipe in recipes[1:] for line in differences(recipes[0][1], recipe, sections)
    ]
