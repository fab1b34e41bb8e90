"""A competition's csv files and image folders -> `SampleTable`; every bad row is named."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.errors import DataError

LISTED = 5  # how many bad rows a message names before it only counts


@dataclass(frozen=True)
class SampleTable:
    """N samples as flat arrays: no Python object a row, so that loader workers do not copy them page by page.

    Attributes:
        ids: str (N,).
        paths: image files, str (N,).
        labels: the raw label of each column of `targets`, as text, (C,).
        label_groups: the group of each label, the part of its name before the separator, (C,); all "" without groups.
        targets: int64 (N,) class index, or uint8 (N, C); None for a test set.
        groups: str (N,), or None where the table has none.
        remarks: what is odd but does not stop anything, one line each.
    """

    ids: np.ndarray
    paths: np.ndarray
    labels: tuple[str, ...]
    label_groups: tuple[str, ...]
    targets: np.ndarray | None = None
    groups: np.ndarray | None = None
    remarks: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> SampleTable:
        """The samples at these positions (int (M,)), in this order."""
        return SampleTable(
            self.ids[rows],
            self.paths[rows],
            self.labels,
            self.label_groups,
            None if self.targets is None else self.targets[rows],
            None if self.groups is None else self.groups[rows],
            self.remarks,
        )


def read_table(table_format: TableFormat, data_dir: Path) -> SampleTable:
    """Read the training table and find its images.

    Raises:
        DataError: a file or column is missing, an id stands twice, a label is unknown, a class is missing, or a row
            has no image (unless the format says to drop such rows). The message names the first few and counts all.
    """
    csv = data_dir / table_format.train_csv
    frame = _read_csv(csv)
    _require_columns(frame, csv, [table_format.id_column, table_format.label_column, table_format.group_column])
    _refuse_doubles(frame[table_format.id_column], csv)
    # Before any row is dropped: a label that only such rows have stays a label.
    labels, label_groups = _labels(table_format, data_dir, frame)
    remarks: list[str] = []
    folder = data_dir / table_format.train_images
    found = _find_images(frame[table_format.id_column], folder, table_format, remarks)
    if not found.all():
        lost = frame[table_format.id_column][~found]
        if table_format.on_missing_image == "error":
            raise DataError(
                f"{csv}: {_named(lost, 'row')} without an image in {folder} (they end in "
                f"{table_format.image_suffix}); add them, or drop such rows with --table.on-missing-image drop"
            )
        remarks.append(f"{csv}: dropped {_named(lost, 'row')} without an image in {folder}")
        frame = frame[found]
    if frame.empty:
        raise DataError(f"{csv}: no row is left to train on")
    targets = _targets(table_format, csv, frame, labels, remarks)
    group = table_format.group_column
    return SampleTable(
        ids=_text(frame[table_format.id_column]),
        paths=_paths(frame[table_format.id_column], folder, table_format.image_suffix),
        labels=labels,
        label_groups=label_groups,
        targets=targets,
        groups=_text(frame[group]) if group else None,
        remarks=tuple(remarks),
    )


def read_test_table(table_format: TableFormat, data_dir: Path, labels: SampleTable) -> SampleTable:
    """The test set: the ids of the sample submission in its order, without targets; labels as in the training table.

    Raises:
        DataError: the sample, its columns or an image is missing, or an id stands twice.
    """
    csv = data_dir / table_format.sample_csv
    frame = _read_csv(csv)
    _require_columns(frame, csv, [table_format.id_column, table_format.label_column])
    ids = frame[table_format.id_column]
    _refuse_doubles(ids, csv)
    remarks: list[str] = []
    folder = data_dir / table_format.test_images
    found = _find_images(ids, folder, table_format, remarks)
    if not found.all():
        raise DataError(f"{csv}: {_named(ids[~found], 'row')} without an image in {folder}; every row needs an answer")
    return SampleTable(
        ids=_text(ids),
        paths=_paths(ids, folder, table_format.image_suffix),
        labels=labels.labels,
        label_groups=labels.label_groups,
        remarks=tuple(remarks),
    )


def read_answers(table_format: TableFormat, csv: Path, labels: tuple[str, ...], ids: np.ndarray) -> np.ndarray:
    """Targets of known answers in the format of the training table, in the order of `ids`.

    Returns:
        int64 (N,) class index, or uint8 (N, C).
    """
    frame = _read_csv(csv)
    _require_columns(frame, csv, [table_format.id_column, table_format.label_column])
    _refuse_doubles(frame[table_format.id_column], csv)
    absent = sorted(set(ids) - set(frame[table_format.id_column]))
    if absent:
        raise DataError(f"{csv}: no answer for {_named(absent, 'id')}")
    frame = frame.set_index(table_format.id_column, drop=False).loc[list(ids)]
    return _targets(table_format, csv, frame, labels, [])


def _read_csv(path: Path) -> pd.DataFrame:
    """All cells as text: ids such as 0012 keep their zeros, and an empty cell is ''."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"{path} is missing: --data must be the competition's folder") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable csv table: {' '.join(str(error).split())}") from None


def _require_columns(frame: pd.DataFrame, csv: Path, columns: list[str | None]) -> None:
    missing = [column for column in columns if column is not None and column not in frame.columns]
    if missing:
        raise DataError(
            f"{csv} has no column {', '.join(missing)}; it has {', '.join(frame.columns)}. "
            "Name the right ones in the recipe's `table`, such as --table.id-column"
        )


def _refuse_doubles(ids: pd.Series, csv: Path) -> None:
    doubles = ids[ids.duplicated()].unique()
    if len(doubles):
        raise DataError(f"{csv}: {_named(doubles, 'id')} more than once; every id may stand once")


def _find_images(ids: pd.Series, folder: Path, table_format: TableFormat, remarks: list[str]) -> np.ndarray:
    """Which ids have an image, bool (N,); images that no row names become a remark."""
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: the recipe's `table` names it as a folder of images")
    suffix = table_format.image_suffix
    top = {entry.name for entry in os.scandir(folder)}  # one listing, not one stat a row
    names = ids + suffix
    # An id may hold a folder (`ab/ab12`): those few are asked one by one.
    found = np.array([(folder / name).is_file() if "/" in name else name in top for name in names], bool)
    spare = sorted(name for name in top - set(names) if name.endswith(suffix))
    if spare:
        remarks.append(f"{folder}: {_named(spare, 'image')} without a row in the table")
    return found


def _labels(table_format: TableFormat, data_dir: Path, frame: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Raw labels in column order, and the group of each."""
    if table_format.labels_csv is None:
        labels = sorted({label for cell in frame[table_format.label_column] for label in _split(cell, table_format)})
        if not labels:
            raise DataError(
                f"{data_dir / table_format.train_csv}: column {table_format.label_column} holds no label at all"
            )
        names = labels
    else:
        csv = data_dir / table_format.labels_csv
        table = _read_csv(csv)
        _require_columns(table, csv, [table_format.label_id_column, table_format.label_name_column])
        _refuse_doubles(table[table_format.label_id_column], csv)
        labels, names = list(table[table_format.label_id_column]), list(table[table_format.label_name_column])
    separator = table_format.name_separator
    return tuple(labels), tuple(name.split(separator)[0] if separator and separator in name else "" for name in names)


def _split(cell: str, table_format: TableFormat) -> list[str]:
    """The labels of one cell; a multi-class cell is one label whatever it holds."""
    parts = [cell] if table_format.task == "multiclass" else cell.split(table_format.label_separator)
    return [part.strip() for part in parts if part.strip()]


def _targets(
    table_format: TableFormat, csv: Path, frame: pd.DataFrame, labels: tuple[str, ...], remarks: list[str]
) -> np.ndarray:
    """int64 (N,) or uint8 (N, C); unknown labels are refused, rows without a label named."""
    column = {label: position for position, label in enumerate(labels)}
    cells = [_split(cell, table_format) for cell in frame[table_format.label_column]]
    unknown = sorted({label for cell in cells for label in cell} - set(column))
    if unknown:
        raise DataError(f"{csv}: {_named(unknown, 'label')} not in {table_format.labels_csv or 'the training table'}")
    empty = frame[table_format.id_column][np.array([not cell for cell in cells], bool)]
    if table_format.task == "multiclass":
        if len(empty):
            raise DataError(f"{csv}: {_named(empty, 'row')} without a class in column {table_format.label_column}")
        return np.array([column[cell[0]] for cell in cells], np.int64)
    if len(empty):
        remarks.append(f"{csv}: {_named(empty, 'row')} without any label; kept, as rows to which no label applies")
    targets = np.zeros((len(cells), len(labels)), np.uint8)
    rows = np.repeat(np.arange(len(cells)), [len(cell) for cell in cells])
    targets[rows, [column[label] for cell in cells for label in cell]] = 1
    return targets


def _paths(ids: pd.Series, folder: Path, suffix: str) -> np.ndarray:
    return _text(str(folder) + os.sep + ids + suffix)


def _text(column: Iterable[str]) -> np.ndarray:
    """A flat array of fixed-width text."""
    return np.array(list(column), np.str_)


def _named(items: Iterable[str], what: str) -> str:
    """Count and name things: `7 rows (a, b, c, d, e, ...)`."""
    names = list(items)
    first = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
    return f"{len(names)} {what}{'s' if len(names) != 1 else ''} ({first})"
