"""What a column of labels says: one a row or several and what separates them, the label for unknown ones, odd ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from imettk.data.csv_files import named
from imettk.errors import DataError
from imettk.starter.questions import Question, Ranked

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
LIST = re.compile(r"\[.*\]|\{.*\}", re.DOTALL)
NUMBERED = re.compile(r"(.*?)[ _-]?(\d+)")


class Reading(NamedTuple):
    """How the cells of a label column are read: the separator is None where each is one label."""

    separator: str | None
    reason: str


def read_cells(cells: pd.Series, column: str, *, several: bool | None) -> Reading:
    """One label a cell, or several and what separates them.

    Args:
        several: None where the cells must tell.

    Raises:
        DataError: they do not.
    """
    full = cells[cells != ""]
    if several is False:
        return Reading(None, "as asked for")
    if (lists := full[full.str.fullmatch(LIST)]).size > len(full) / 2:
        raise DataError(
            f"column {column} holds lists, such as {lists.iloc[0]!r}: write each row's labels without brackets and "
            "quotes first, joined by one sign such as |"
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


def _surely_several(cells: pd.Series, separator: str, parts: Counter[str]) -> bool:
    if separator in "|;" or all(part.lstrip("-").isdigit() for part in parts):
        return True
    counts = {len(cell.split(separator)) for cell in cells}
    return len(counts) > 1 and len(parts) < FEWER * cells.nunique()


def read_ranked(sample: pd.DataFrame, id_column: str, labels: set[str], images: set[str]) -> Ranked | None:
    """Whether a sample submission wants several answers in order where each training row has one label.

    Args:
        images: names by which answers may mean images.
    """
    columns = tuple(column for column in sample.columns if column != id_column)
    stems = {match[1] for column in columns if (match := NUMBERED.fullmatch(column))}
    if len(columns) > 1 and len(stems) == 1 and all(NUMBERED.fullmatch(column) for column in columns):
        answers = {cell for column in columns for cell in sample[column].unique()}
        if all(re.fullmatch(r"\d*\.\d+", answer) for answer in answers):  # a probability for each class
            return None
        of_images = len(answers & images) > len(answers) / 2
        return Ranked(columns, len(columns), of_images, None if of_images else _foreign(answers, labels))
    if len(columns) != 1 or sample.empty:
        return None
    first = str(sample[columns[0]].iloc[0])
    parts = first.split()
    if len(parts) < 2 or first in labels:
        return None
    of_images = set(parts) <= images
    strange = _foreign(set(parts), labels)
    if not of_images and len(set(parts) - labels) > (strange is not None):
        return None
    return Ranked((), len(parts), of_images, None if of_images else strange)


def _foreign(answers: set[str], labels: set[str]) -> str | None:
    strange = sorted(answers - labels)
    return strange[0] if len(strange) == 1 and UNKNOWN.fullmatch(strange[0]) else None


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
            f"{named(doubtful, 'label')} may mean that there is no answer: such rows are left out with "
            "table.left_out_csv, or are a class"
        )
    if rare := [f"{label!r}: {count}" for label, count in known.items() if count <= question.rare_rows]:
        lines.append(question.rare.format(named=named(rare, "label"), number=len(rare), total=len(known)))
    spelled: dict[str, list[str]] = {}
    for label in known:
        spelled.setdefault(re.sub(r"[\W_]+", "", label).casefold(), []).append(label)
    if twins := [" and ".join(map(repr, sorted(names))) for key, names in spelled.items() if key and len(names) > 1]:
        lines.append(f"{named(twins, 'label')} spelled in two ways")
    return lines


def labels_of(cells: Sequence[str], separator: str | None) -> Counter[str]:
    """How many rows each label has."""
    if separator is None:
        return Counter(cell.strip() for cell in cells if cell.strip())
    return Counter(part for cell in cells for part in {each.strip() for each in cell.split(separator)} if part)
