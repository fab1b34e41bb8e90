"""What a column of labels says: one a row or several and what separates them, the label for unknown ones, odd ones."""

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

SEPARATORS = {"|": "|", ";": ";", ",": "a comma", " ": "a space"}  # the ones that no name holds first
FEWER = 0.8  # distinct parts beside distinct cells, from which on parts recur
SEEN = 0.01  # share of rows that hold a separator, below which it is part of a name
# Labels that say that nobody knows, or that the image does not count.
NO_ANSWER = re.compile(
    r"(not|un)[ _-]?(sure|known|clear|labell?ed|defined|identified|specified)|skip(ped)?|ignored?|none?|n/?a|nan|null|"
    r"missing|undefined|invalid|\?+|-+|tbd|todo|no[ _-]?label|don'?t[ _-]?know|delete|remove",
    re.IGNORECASE,
)
UNKNOWN = re.compile(r"(new|unknown|unseen|unidentified|no)([ _-].*)?|-1", re.IGNORECASE)


class Reading(NamedTuple):
    """How the cells of a label column are read: the separator is None where each is one label, or a list."""

    separator: str | None
    reason: str
    lists: bool = False

    @property
    def several(self) -> bool:
        """Whether a cell may hold several labels."""
        return self.lists or self.separator is not None


def read_labels(cells: pd.Series, column: str, *, several: bool | None) -> Reading:
    """Return how cells are read: one label each, or several and what separates them.

    Args:
        several: None where the cells must tell.

    Raises:
        DataError: they do not.
    """
    full = cells[cells != ""]
    if several is False:
        return Reading(None, "as asked for")
    lists = full.map(parse_list)
    if len(full) and lists.notna().all():
        example = max(full.iloc[:20], key=len)
        return Reading(None, f"cells are lists, such as {example!r}", lists=True)
    if full.str.fullmatch(LIST).sum() > len(full) / 2:
        raise DataError(
            f"column {column} holds lists, and cells that cannot be read as such, as {full[lists.isna()].iloc[0]!r}: "
            "write them as ['a', 'b'], or their labels joined by one sign such as |"
        )
    unclear = None
    for separator, name in SEPARATORS.items():
        holds = full[full.str.contains(separator, regex=False)]
        if len(holds) <= SEEN * len(full):
            continue
        parts = Counter(part.strip() for cell in full for part in cell.split(separator) if part.strip())
        distinct, example = full.nunique(), max(holds.iloc[:20], key=len)
        recur = f"{len(parts)} different parts make {distinct} different cells, such as {example!r}"
        if several or _surely_several(full, separator, parts):
            return Reading(separator, f"joined by {name}: {recur}")
        if len(parts) < distinct:
            unclear = unclear or f"joined by {name}, or names that hold it? {recur}"
    if unclear is not None:
        raise DataError(f"column {column}: several labels {unclear}; give --task multilabel, or --task multiclass")
    if several:
        return Reading(" ", "as asked for, though no cell holds several")
    return Reading(None, f"no cell of {full.nunique()} different ones is made of parts that recur")


def find_separator(cells: Sequence[str], labels: Collection[str]) -> str | None:
    """Return what joins labels in cells that are no lists; None where none of them holds several."""
    for separator in SEPARATORS:
        parts = [part.strip() for cell in cells if separator in cell for part in cell.split(separator)]
        if parts and all(part in labels or part.isdecimal() for part in parts):
            return separator
    return None


def _surely_several(cells: pd.Series, separator: str, parts: Counter[str]) -> bool:
    if separator in "|;" or all(part.lstrip("-").isdigit() for part in parts):
        return True
    counts = {len(cell.split(separator)) for cell in cells}
    return len(counts) > 1 and len(parts) < FEWER * cells.nunique()


def unknown_among(counts: Counter[str]) -> str | None:
    """The label that stands for every individual without a name: it is called so, and has more rows than most."""
    named_so = [label for label in counts if UNKNOWN.fullmatch(label)]
    return max(named_so, key=lambda label: counts[label]) if named_so else None


def odd_labels(counts: Counter[str], question: Question, *, unknown: str | None) -> list[str]:
    """What is odd in labels, one line each."""
    known = {label: count for label, count in counts.items() if label != unknown}
    lines = []
    if doubtful := [f"{label!r}: {count} rows" for label, count in known.items() if NO_ANSWER.fullmatch(label)]:
        lines.append(
            f"{list_names(doubtful, 'label')} may mean that there is no answer: such rows are left out with "
            "table.left_out_csv, or are a class"
        )
    if rare := [f"{label!r}: {count}" for label, count in known.items() if count <= question.rare_rows]:
        lines.append(question.rare.format(named=list_names(rare, "label"), number=len(rare), total=len(known)))
    spelled: dict[str, list[str]] = {}
    for label in known:
        spelled.setdefault(re.sub(r"[\W_]+", "", label).casefold(), []).append(label)
    if twins := [" and ".join(map(repr, sorted(names))) for key, names in spelled.items() if key and len(names) > 1]:
        lines.append(f"{list_names(twins, 'label')} spelled in two ways")
    return lines


def labels_of(cells: Sequence[str], separator: str | None) -> Counter[str]:
    """How many rows each label has."""
    if separator is None:
        return Counter(cell.strip() for cell in cells if cell.strip())
    return Counter(part for cell in cells for part in {each.strip() for each in cell.split(separator)} if part)
