"""The cells of a label column: one label or several, their separator, the label of unknown individuals, odd labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import pandas as pd

from imettk.data.csv_files import list_names
from imettk.data.label_cells import LIST, parse_list
from imettk.errors import DataError
from imettk.starter.questions import Question

# Signs that hardly ever occur in a name come first: a space separates labels only if nothing else does.
SEPARATORS = {"|": "|", ";": ";", ",": "a comma", " ": "a space"}
MAX_DISTINCT_PARTS = 0.8  # parts recur if there are fewer distinct ones than this share of the distinct cells
MIN_WITH_SEPARATOR = 0.01  # a sign in no more than this share of rows is part of a name
# Labels of rows that nobody could label, or that should not count.
NO_ANSWER = re.compile(
    r"(not|un)[ _-]?(sure|known|clear|labell?ed|defined|identified|specified)|skip(ped)?|ignored?|none?|n/?a|nan|null|"
    r"missing|undefined|invalid|\?+|-+|tbd|todo|no[ _-]?label|don'?t[ _-]?know|delete|remove",
    re.IGNORECASE,
)
UNKNOWN = re.compile(r"(new|unknown|unseen|unidentified|no)([ _-].*)?|-1", re.IGNORECASE)


class Reading(NamedTuple):
    """The way to read the cells of a label column, and why; without a separator each is one label, or a list."""

    separator: str | None
    reason: str
    lists: bool = False

    @property
    def several(self) -> bool:
        """True if a cell may hold several labels."""
        return self.lists or self.separator is not None


def read_labels(cells: pd.Series, column: str, *, several: bool | None) -> Reading:
    """Guess whether cells hold one label each, or several and what separates them.

    Args:
        several: the user's word on it, if given.

    Raises:
        DataError: the cells may be read either way.
    """
    full = cells[cells != ""]
    if several is False:
        return Reading(None, "as requested")
    lists = full.map(parse_list)
    if len(full) and lists.notna().all():
        example = max(full.iloc[:20], key=len)
        return Reading(None, f"cells are lists, such as {example!r}", lists=True)
    if full.str.fullmatch(LIST).sum() > len(full) / 2:
        raise DataError(
            f"column {column} holds lists, but also cells that cannot be read as lists, such as "
            f"{full[lists.isna()].iloc[0]!r}: write them as ['a', 'b'], or join labels with one sign such as |"
        )
    unclear = None
    for separator, name in SEPARATORS.items():
        holds = full[full.str.contains(separator, regex=False)]
        if len(holds) <= MIN_WITH_SEPARATOR * len(full):
            continue
        parts = Counter(part.strip() for cell in full for part in cell.split(separator) if part.strip())
        distinct, example = full.nunique(), max(holds.iloc[:20], key=len)
        recur = f"{len(parts)} distinct parts form {distinct} distinct cells, such as {example!r}"
        if several or _surely_several(full, separator, parts):
            return Reading(separator, f"joined by {name}: {recur}")
        if len(parts) < distinct:
            unclear = unclear or f"joined by {name}, or names that contain it? {recur}"
    if unclear is not None:
        raise DataError(f"column {column}: several labels {unclear}: give --task multilabel, or --task multiclass")
    if several:
        return Reading(" ", "as requested, though no cell holds several")
    return Reading(None, f"none of {full.nunique()} distinct cells splits into recurring parts")


def find_separator(cells: Sequence[str], labels: Collection[str]) -> str | None:
    """Return the sign that joins labels in cells that are not lists; None if no cell holds several."""
    for separator in SEPARATORS:
        parts = [part.strip() for cell in cells if separator in cell for part in cell.split(separator)]
        if parts and all(part in labels or part.isdecimal() for part in parts):
            return separator
    return None


def _surely_several(cells: pd.Series, separator: str, parts: Counter[str]) -> bool:
    """Return whether a sign separates labels beyond doubt: names may contain a comma or a space, but no pipe."""
    if separator in "|;" or all(part.lstrip("-").isdigit() for part in parts):
        return True
    counts = {len(cell.split(separator)) for cell in cells}
    return len(counts) > 1 and len(parts) < MAX_DISTINCT_PARTS * cells.nunique()


def unknown_among(counts: Counter[str]) -> str | None:
    """Return the label that stands for all unknown individuals, by its name; of several the one with most rows."""
    named_so = [label for label in counts if UNKNOWN.fullmatch(label)]
    return max(named_so, key=lambda label: counts[label]) if named_so else None


def odd_labels(counts: Counter[str], question: Question, *, unknown: str | None) -> list[str]:
    """Describe odd labels, one line each: non-answers, rare ones, and several spellings of one name."""
    known = {label: count for label, count in counts.items() if label != unknown}
    lines = []
    if doubtful := [f"{label!r}: {count} rows" for label, count in known.items() if NO_ANSWER.fullmatch(label)]:
        lines.append(
            f"{list_names(doubtful, 'label')} may stand for a missing answer: leave such rows out with "
            "table.left_out_csv, or keep them as a class"
        )
    if rare := [f"{label!r}: {count}" for label, count in known.items() if count <= question.rare_rows]:
        lines.append(question.rare.format(named=list_names(rare, "label"), number=len(rare), total=len(known)))
    spelled: dict[str, list[str]] = {}
    for label in known:
        spelled.setdefault(re.sub(r"[\W_]+", "", label).casefold(), []).append(label)
    if twins := [" and ".join(map(repr, sorted(names))) for key, names in spelled.items() if key and len(names) > 1]:
        lines.append(f"{list_names(twins, 'label')} with more than one spelling")
    return lines


def labels_of(cells: Sequence[str], separator: str | None) -> Counter[str]:
    """Count the rows of each label."""
    if separator is None:
        return Counter(cell.strip() for cell in cells if cell.strip())
    return Counter(label for cell in cells for label in {part.strip() for part in cell.split(separator)} if label)
