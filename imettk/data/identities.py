"""Identities that turned out to be the same: lists of names that are merged into one label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import list_names, require_unique
from imettk.data.table_files import read_rows
from imettk.data.text_tables import SPACES, separator_of
from imettk.errors import DataError


def read_merged(table_format: TableFormat, data_dir: Path, remarks: list[str] | None = None) -> list[list[str]]:
    """Read the lines of `merged_csv`, each the names of one identity; empty without such a file.

    Raises:
        DataError: a name is repeated (which of two lines is wrong is for a person to decide), or is the unknown label.
    """
    if table_format.merged_csv is None:
        return []
    csv = data_dir / table_format.merged_csv
    frame = read_rows(csv, remarks)
    cells = frame.agg(" ".join, axis=1) if separator_of(csv) == SPACES else frame[frame.columns[-1]]
    lines = [cell.split() for cell in cells]
    names = pd.Series([name for line in lines for name in line], dtype=str)
    require_unique(names, csv)
    if (names == table_format.unknown_label).any():
        raise DataError(f"{csv}: the unknown label {table_format.unknown_label} stands for many identities")
    return lines


def merge_labels(
    table_format: TableFormat, data_dir: Path, frames: Sequence[pd.DataFrame], remarks: list[str]
) -> dict[str, str]:
    """Return the label that replaces each merged one.

    Of each line of `merged_csv` the label with the most rows stays, or the first of several. Remarks count the rows
    that change and list the names without rows.
    """
    lines = read_merged(table_format, data_dir, remarks)
    if not lines:
        return {}
    column = table_format.label_column
    counts = Counter(cell.strip() for frame in frames for cell in frame[column])
    merged: dict[str, str] = {}
    for line in lines:
        kept = max(line, key=lambda name: counts[name])  # `max` returns the first of several
        merged |= {name: kept for name in line if name != kept}
    csv = data_dir / str(table_format.merged_csv)
    lost = [name for line in lines for name in line if not counts[name]]
    changed = [name for name in merged if counts[name]]
    rows = sum(counts[name] for name in changed)
    remarks.append(f"{csv}: {list_names(changed, 'label')} merged into others, with {rows} rows in total")
    if lost:
        remarks.append(f"{csv}: {list_names(lost, 'name')} not in the training table")
    return merged


def merged_into(labels: Sequence[str], lines: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the same mapping as `merge_labels`, recovered from the labels that remained."""
    known = set(labels)
    merged: dict[str, str] = {}
    for line in lines:
        kept = [name for name in line if name in known]
        merged |= {name: kept[0] for name in line if kept and name not in known}
    return merged
