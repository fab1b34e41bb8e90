"""From the label column of a table to targets, for several labels a row or one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import named, read_csv, refuse_doubles, require_columns
from imettk.errors import DataError


class Labels(NamedTuple):
    """Which labels there are.

    Attributes:
        names: raw labels in column order, as text.
        groups: of each label.
        others: labels that are another model's, passed over.
        merged: labels that are another one, and which; see `imettk.data.identities`.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    others: frozenset[str] = frozenset()
    merged: Mapping[str, str] = {}


def list_labels(
    table_format: TableFormat, data_dir: Path, frames: list[pd.DataFrame], merged: Mapping[str, str]
) -> Labels:
    """The labels of `labels_csv`, or those that stand in these tables, sorted as text.

    The unknown label is none of them, nor is one that was merged into another.

    Raises:
        DataError: there is no label at all, `labels_csv` is not as described, or no group is called `only_group`.
    """
    if table_format.labels_csv is None:
        column = table_format.label_column
        labels = sorted({label for frame in frames for cell in frame[column] for label in split(cell, table_format)})
        names = labels
    else:
        csv = data_dir / table_format.labels_csv
        table = read_csv(csv)
        require_columns(table, csv, [table_format.label_id_column, table_format.label_name_column])
        refuse_doubles(table[table_format.label_id_column], csv)
        labels, names = list(table[table_format.label_id_column]), list(table[table_format.label_name_column])
    gone = {*merged, table_format.unknown_label}
    kept = [place for place, label in enumerate(labels) if label not in gone]
    if not kept:
        source = table_format.labels_csv or table_format.train_csv
        raise DataError(f"{data_dir / source}: column {table_format.label_column} holds no label at all")
    separator = table_format.name_separator
    groups = [name.split(separator)[0] if separator and separator in name else "" for name in names]
    if (only := table_format.only_group) is None:
        return Labels(tuple(labels[place] for place in kept), tuple(groups[place] for place in kept), merged=merged)
    if only not in groups:
        raise DataError(
            f"`table.only_group` {only!r} is no label group; there are {named(sorted(set(groups)), 'group')}"
        )
    own = [place for place in kept if groups[place] == only]
    others = frozenset(labels) - {labels[place] for place in own} - gone
    return Labels(tuple(labels[place] for place in own), (only,) * len(own), others, merged)


def split(cell: str, table_format: TableFormat) -> list[str]:
    """The labels of one cell; a multi-class cell is one label whatever it holds."""
    parts = [cell] if table_format.task == "multiclass" else cell.split(table_format.label_separator)
    return [part.strip() for part in parts if part.strip()]


def make_targets(
    table_format: TableFormat, csv: Path, frame: pd.DataFrame, labels: Labels, remarks: list[str]
) -> np.ndarray:
    """int64 (N,), -1 for the unknown label, or uint8 (N, C); a row without any label becomes a remark.

    Raises:
        DataError: a label that is not listed, or a row without a class.
    """
    column = {label: position for position, label in enumerate(labels.names)}
    column |= {name: column[label] for name, label in labels.merged.items() if label in column}
    if table_format.unknown_label is not None:
        column[table_format.unknown_label] = -1
    cells = [split(cell, table_format) for cell in frame[table_format.label_column]]
    if labels.others:
        cells = [[label for label in cell if label not in labels.others] for cell in cells]
    strange = sorted({label for cell in cells for label in cell} - set(column))
    if strange:
        raise DataError(f"{csv}: {named(strange, 'label')} not in {table_format.labels_csv or 'the training table'}")
    empty = frame[table_format.id_column][np.array([not cell for cell in cells], bool)]
    if table_format.task == "multiclass":
        if len(empty):
            raise DataError(f"{csv}: {named(empty, 'row')} without a class in column {table_format.label_column}")
        return np.array([column[cell[0]] for cell in cells], np.int64)
    if len(empty):
        remarks.append(f"{csv}: {named(empty, 'row')} without any label; kept, as rows to which no label applies")
    targets = np.zeros((len(cells), len(labels.names)), np.uint8)
    rows = np.repeat(np.arange(len(cells)), [len(cell) for cell in cells])
    targets[rows, [column[label] for cell in cells for label in cell]] = 1
    return targets
