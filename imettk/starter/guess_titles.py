"""Names of labels: in a table of their own, or beside the labels in COCO's table."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from imettk.config import TableFormat
from imettk.data.part_names import is_held_out, is_training
from imettk.starter.finding import Finding
from imettk.starter.look import Contents
from imettk.starter.naming import MAJORITY, match_names

# A table of labels lists at most this many for each label in use; a longer one has row numbers that look like labels.
MAX_LISTED = 3


def find_titles(
    contents: Contents, labels: Collection[str], others: Collection[str | None], findings: list[Finding]
) -> dict[str, Any]:
    """Return the table that lists every label with its name, as fields of the format; no fields without such a table.

    Args:
        others: tables that are known to be something else.
    """
    wanted = set(labels)
    for csv, frame in contents.tables.items():
        if csv in others or len(frame.columns) < 2 or len(frame) > MAX_LISTED * len(wanted):
            continue
        if is_held_out(Path(csv).stem) and not is_training(Path(csv).stem):
            continue
        for column in frame.columns:
            # A table whose rows name images lists these, even if their ids are numbers as labels are.
            if wanted <= set(frame[column]) and frame[column].is_unique:
                beside = [str(other) for other in frame.columns if other != column]
                if any(_names_images(frame[other], contents) for other in beside):
                    continue
                rest = [other for other in beside if frame[other].is_unique]
                name = next((other for other in rest if "name" in other.lower()), rest[0] if rest else column)
                reason = f"its column {column} contains every label of the training table"
                findings.append(Finding("label names", f"{csv}, {len(frame)} labels", reason, "table.labels_csv"))
                return {"labels_csv": csv, "label_id_column": column, "label_name_column": name}
    return {}


def _names_images(cells: pd.Series, contents: Contents) -> bool:
    """Return whether at least half of the cells name images in one folder."""
    namings = match_names(cells, contents)
    return bool(namings) and namings[0].share >= MAJORITY


def find_coco_titles(contents: Contents, train_csv: str, label_column: str, findings: list[Finding]) -> dict[str, Any]:
    """Return COCO's training table as the table of names, if labels are its categories; see `find_titles`."""
    frame = contents.tables[train_csv]
    if not contents.forms.get(train_csv, "").startswith("COCO") or label_column != "category_id":
        return {}
    for name in (str(column) for column in frame.columns if "name" in str(column).lower() and column != "file_name"):
        pairs = frame.loc[frame[label_column] != "", [label_column, name]].drop_duplicates()
        if pairs[label_column].is_unique and pairs[name].is_unique:
            reason = f"its column {name} has a name for each {label_column}"
            findings.append(Finding("label names", f"{train_csv}, {len(pairs)} labels", reason, "table.labels_csv"))
            return {"labels_csv": train_csv, "label_id_column": label_column, "label_name_column": name}
    return {}


def have_groups(names: pd.Series) -> bool:
    """Return whether names of labels start with a group, as in `culture::french`."""
    return bool(names.str.contains(TableFormat().name_separator, regex=False).any())
