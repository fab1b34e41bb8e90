"""From the label cells of a table to targets, for one or several labels per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.auxiliary import auxiliary_labels
from imettk.data.csv_files import list_names, require_columns, require_unique
from imettk.data.question_cells import question_labels
from imettk.data.table_files import read_rows
from imettk.errors import DataError
from imettk.tasks import TASKS
from imettk.tasks.task import is_finite

MOST_VOTES = 1e9  # per row


class Labels(NamedTuple):
    """The labels of a table.

    Attributes:
        names: raw labels in column order, as text.
        groups: group of each label.
        others: labels of another model, which are ignored.
        merged: labels that are replaced, and by which; see `imettk.data.identities`.
        titles: display names from `labels_csv`; empty without it.
        auxiliary: labels of auxiliary columns, each with its column.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    others: frozenset[str] = frozenset()
    merged: Mapping[str, str] = {}
    titles: tuple[str, ...] = ()
    auxiliary: Mapping[str, str] = {}


def list_labels(
    table_format: TableFormat,
    data_dir: Path,
    frames: list[pd.DataFrame],
    merged: Mapping[str, str],
    remarks: list[str] | None = None,
) -> Labels:
    """Return the labels of `labels_csv`, of `label_columns`, or of these tables in sorted order (grades by number).

    Neither the unknown label nor merged labels are included.

    Raises:
        DataError: there is no label at all, `labels_csv` is malformed, or no group is called `only_group`.
    """
    auxiliary = auxiliary_labels(table_format, frames)
    if TASKS[table_format.task].asks_columns:
        questions = question_labels(frames, table_format.label_columns)
        return Labels(tuple(questions), tuple(questions.values()), auxiliary=auxiliary)
    titles = read_titles(table_format, data_dir, remarks)
    if table_format.label_columns or TASKS[table_format.task].numbered:
        labels = list(table_format.number_columns)
    elif table_format.labels_csv is None:
        column = table_format.label_column
        held = {label for frame in frames for cell in frame[column] for label in split(cell, table_format)}
        labels = TASKS[table_format.task].order(held)
    else:
        labels = list(titles)
    gone = {*merged, table_format.unknown_label}
    kept = [label for label in labels if label not in gone]
    if not kept:
        source = table_format.labels_csv or table_format.train_csv
        raise DataError(f"{data_dir / source}: column {table_format.label_column} holds no label at all")
    groups = {label: _group_of(titles.get(label, label), table_format.name_separator) for label in labels}
    others = frozenset[str]()
    if (only := table_format.only_group) is not None:
        if only not in groups.values():
            known = list_names(sorted(set(groups.values())), "group")
            raise DataError(f"`table.only_group` {only!r} is not a label group; there are {known}")
        kept = [label for label in kept if groups[label] == only]
        others = frozenset(labels) - {*kept} - gone
    kept_groups, shown = tuple(groups[label] for label in kept), _titles_of(titles, kept)
    return Labels(tuple(kept), kept_groups, others, merged, shown, auxiliary)


def _group_of(title: str, separator: str | None) -> str:
    return title.split(separator)[0] if separator and separator in title else ""


def read_titles(table_format: TableFormat, data_dir: Path, remarks: list[str] | None = None) -> dict[str, str]:
    """Return the name of each label in `labels_csv`, in its order; empty without such a file.

    Repeated and empty rows are skipped, as a table of annotations may have them.

    Raises:
        DataError: it is malformed.
    """
    if table_format.labels_csv is None:
        return {}
    csv = data_dir / table_format.labels_csv
    table = read_rows(csv, remarks)
    columns = [table_format.label_id_column, table_format.label_name_column]
    require_columns(table, csv, columns)
    table = table[list(dict.fromkeys(columns))].drop_duplicates()
    table = table[(table != "").any(axis=1)]
    require_unique(table[columns[0]], csv)
    return dict(zip(table[columns[0]], table[columns[1]], strict=True))


def find_titles(table_format: TableFormat, data_dir: Path, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return display names of these labels, (C,); () if there are none, or their file is not here."""
    try:
        titles = read_titles(table_format, data_dir)
    except DataError:
        return ()
    return _titles_of(titles, labels)


def _titles_of(titles: Mapping[str, str], labels: Sequence[str]) -> tuple[str, ...]:
    """Return the name of each label, or the label itself if it has none; () if no label has one."""
    return tuple(titles.get(label) or label for label in labels) if titles else ()


def split(cell: str, table_format: TableFormat) -> list[str]:
    """Return the labels in one cell."""
    return TASKS[table_format.task].split(cell, table_format.cell_separator)


def read_numbers(table_format: TableFormat, csv: Path, frame: pd.DataFrame) -> list[list[str]]:
    """Return the numbers of each row as text, one per column.

    Raises:
        DataError: a cell is not a number; row, column and cell are named.
    """
    for column in table_format.number_columns:
        cells = frame[column].str.strip()
        if (bad := ~cells.map(is_finite).to_numpy(bool)).any():
            shown = " or ".join("nothing" if cell == "" else repr(cell) for cell in cells[bad].unique()[:3])
            rows = list_names(frame[table_format.id_column][bad], "row")
            raise DataError(f"{csv}: {rows} with {shown} instead of a number in column {column}")
    return frame[list(table_format.number_columns)].to_numpy(str).tolist()


def count_votes(table_format: TableFormat, frame: pd.DataFrame) -> np.ndarray | None:
    """Return the number of votes of each row, float32 (N,); None if the task has no votes."""
    if not TASKS[table_format.task].votes:
        return None
    return frame[list(table_format.number_columns)].to_numpy(str).astype(np.float64).sum(1).astype(np.float32)


def _refuse_no_votes(table_format: TableFormat, csv: Path, frame: pd.DataFrame, numbers: list[list[str]]) -> None:
    """Raise `DataError` if a row has negative votes, none, or more than can be counted."""
    counts = np.array(numbers, np.float64).reshape(len(frame), -1)
    sums = counts.sum(1)
    if (bad := (counts < 0).any(1) | ~(sums > 0) | ~(sums < MOST_VOTES)).any():
        rows = list_names(frame[table_format.id_column][bad], "row")
        raise DataError(
            f"{csv}: {rows} with votes below 0, or without any: their label is unknown; leave them out with "
            "`table.left_out_csv`"
        )


def make_targets(
    table_format: TableFormat, csv: Path, frame: pd.DataFrame, labels: Labels, remarks: list[str]
) -> np.ndarray:
    """Return the task's targets for each row's labels; a row without labels becomes a remark.

    Raises:
        DataError: a label is not listed, or a row lacks its one label.
    """
    task = TASKS[table_format.task]
    if task.numbered:
        numbers = read_numbers(table_format, csv, frame)
        if task.votes:
            _refuse_no_votes(table_format, csv, frame, numbers)
        return task.make_targets(numbers, {}, len(labels.names))
    column = {label: position for position, label in enumerate(labels.names)}
    column |= {name: column[label] for name, label in labels.merged.items() if label in column}
    if table_format.unknown_label is not None:
        column[table_format.unknown_label] = -1
    cells = [split(cell, table_format) for cell in frame[table_format.label_column]]
    if labels.others:
        cells = [[label for label in cell if label not in labels.others] for cell in cells]
    strange = sorted({label for cell in cells for label in cell} - set(column))
    if strange:
        raise DataError(
            f"{csv}: {list_names(strange, 'label')} not in {table_format.labels_csv or 'the training table'}"
        )
    empty = frame[table_format.id_column][np.array([not cell for cell in cells], bool)]
    if len(empty) and task.exclusive:
        where = ", ".join(table_format.label_columns[:5]) or table_format.label_column
        raise DataError(f"{csv}: {list_names(empty, 'row')} without a class in column {where}")
    if len(empty):
        remarks.append(f"{csv}: {list_names(empty, 'row')} without any label; kept as rows with no label set")
    return task.make_targets(cells, column, len(labels.names))
