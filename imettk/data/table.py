"""A competition's csv files and image folders -> `SampleTable`; every bad row is named."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.annotations import boxes_of, is_named, read_boxes, read_names
from imettk.data.csv_files import as_text, named, read_csv, refuse_doubles, require_columns
from imettk.errors import DataError


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
        boxes: the part of each image that is looked at, float32 (N, 4); NaN is the whole image. See `read_boxes`.
        turned: images to turn by 180 degrees, bool (N,).
        sources: 0 for the training table, then the number of the extra table, int16 (N,).
        remarks: what is odd but does not stop anything, one line each.
    """

    ids: np.ndarray
    paths: np.ndarray
    labels: tuple[str, ...]
    label_groups: tuple[str, ...]
    targets: np.ndarray | None = None
    groups: np.ndarray | None = None
    boxes: np.ndarray | None = None
    turned: np.ndarray | None = None
    sources: np.ndarray | None = None
    remarks: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> SampleTable:
        """The samples at these positions (int (M,)), in this order."""
        arrays: dict[str, Any] = {
            item.name: value[rows] for item in fields(self) if isinstance(value := getattr(self, item.name), np.ndarray)
        }
        return replace(self, **arrays)


def read_table(table_format: TableFormat, data_dir: Path) -> SampleTable:
    """Read the training table and the extra ones behind it, and find their images.

    Raises:
        DataError: a file or column is missing, an id stands twice, a label is unknown, a class is missing, or a row
            has no image (unless the format says to drop such rows). The message names the first few and counts all.
    """
    csv = data_dir / table_format.train_csv
    frame = _read_frame(table_format, csv)
    # Before any row is dropped: a label that only such rows have stays a label.
    labels = _labels(table_format, data_dir, frame)
    remarks: list[str] = []
    parts = [_read_rows(table_format, data_dir, csv, frame, labels, remarks)]
    for number, extra in enumerate(table_format.extra, start=1):
        suffix = table_format.image_suffix if extra.image_suffix is None else extra.image_suffix
        own = replace(
            table_format,
            train_csv=extra.csv,
            train_images=extra.images,
            image_suffix=suffix,
            extra=(),
        )
        csv = data_dir / extra.csv
        rows = read_csv(csv)
        if own.group_column not in rows.columns:
            own = replace(own, group_column=None)
        part = _read_rows(own, data_dir, csv, _read_frame(own, csv), labels, remarks)
        parts.append(replace(part, sources=np.full(len(part), number, np.int16)))
    refuse_doubles(pd.Series(np.concatenate([part.ids for part in parts])), data_dir / table_format.train_csv)
    arrays: dict[str, Any] = {}
    for item in fields(SampleTable):
        columns = [getattr(part, item.name) for part in parts]
        if isinstance(columns[0], np.ndarray):
            if item.name == "groups":
                columns = [part.ids if part.groups is None else part.groups for part in parts]
            arrays[item.name] = np.concatenate(columns)
    return replace(parts[0], **arrays, label_groups=labels.groups, remarks=tuple(remarks))


def read_test_table(table_format: TableFormat, data_dir: Path, labels: SampleTable) -> SampleTable:
    """The test set: the ids of the sample submission in its order, without targets; labels as in the training table.

    A row without an image is a remark: it needs an answer all the same.

    Raises:
        DataError: the sample, its columns or every image is missing, or an id stands twice.
    """
    csv = data_dir / table_format.sample_csv
    frame = read_csv(csv)
    require_columns(frame, csv, [table_format.id_column, table_format.answer_column or table_format.label_column])
    ids, suffix = frame[table_format.id_column], table_format.image_suffix
    refuse_doubles(ids, csv)
    remarks: list[str] = []
    folder = data_dir / table_format.test_images
    found = _find_images(ids, folder, table_format, remarks)
    if not found.any():
        raise DataError(
            f"{csv}: {named(ids, 'row')} without an image in {folder} (they end in {suffix}): is that the right folder?"
        )
    if not found.all():
        remarks.append(f"{csv}: {named(ids[~found], 'row')} without an image in {folder}; they get a neutral answer")
    return SampleTable(
        ids=as_text(ids),
        paths=_paths(ids, folder, suffix),
        labels=labels.labels,
        label_groups=labels.label_groups,
        boxes=boxes_of(read_boxes(table_format, data_dir), ids, suffix),
        turned=is_named(read_names(table_format.turned_csv, data_dir), ids, suffix),
        remarks=tuple(remarks),
    )


def _read_frame(table_format: TableFormat, csv: Path) -> pd.DataFrame:
    frame = read_csv(csv)
    require_columns(frame, csv, [table_format.id_column, table_format.label_column, table_format.group_column])
    refuse_doubles(frame[table_format.id_column], csv)
    return frame


def _read_rows(
    table_format: TableFormat,
    data_dir: Path,
    csv: Path,
    frame: pd.DataFrame,
    labels: _Labels,
    remarks: list[str],
) -> SampleTable:
    """The rows of one table that have an image and are not to be left out."""
    id_column, suffix = table_format.id_column, table_format.image_suffix
    folder = data_dir / table_format.train_images
    left_out = is_named(read_names(table_format.left_out_csv, data_dir), frame[id_column], suffix)
    if left_out.any():
        remarks.append(f"{csv}: left out {named(frame[id_column][left_out], 'row')} of {table_format.left_out_csv}")
        frame = frame[~left_out]
    found = _find_images(frame[id_column], folder, table_format, remarks)
    if not found.all():
        lost = frame[id_column][~found]
        if table_format.on_missing_image == "error":
            raise DataError(
                f"{csv}: {named(lost, 'row')} without an image in {folder} (they end in {suffix}); add them, or drop "
                "such rows with --table.on-missing-image drop"
            )
        remarks.append(f"{csv}: dropped {named(lost, 'row')} without an image in {folder}")
        frame = frame[found]
    if frame.empty:
        raise DataError(f"{csv}: no row is left to train on")
    ids = frame[id_column]
    return SampleTable(
        ids=as_text(ids),
        paths=_paths(ids, folder, suffix),
        labels=labels.names,
        label_groups=(),
        targets=_targets(table_format, csv, frame, labels, remarks),
        groups=_groups(table_format, frame),
        boxes=boxes_of(read_boxes(table_format, data_dir), ids, suffix),
        turned=is_named(read_names(table_format.turned_csv, data_dir), ids, suffix),
        sources=np.zeros(len(ids), np.int16),
    )


def read_answers(table_format: TableFormat, csv: Path, labels: tuple[str, ...], ids: np.ndarray) -> np.ndarray:
    """Targets of known answers in the format of the training table, in the order of `ids`.

    Returns:
        int64 (N,) class index, or uint8 (N, C).
    """
    frame = read_csv(csv)
    require_columns(frame, csv, [table_format.id_column, table_format.label_column])
    refuse_doubles(frame[table_format.id_column], csv)
    absent = sorted(set(ids) - set(frame[table_format.id_column]))
    if absent:
        raise DataError(f"{csv}: no answer for {named(absent, 'id')}")
    frame = frame.set_index(table_format.id_column, drop=False).loc[list(ids)]
    others = frozenset[str]()
    if table_format.only_group is not None:  # whatever is not among the labels is another model's
        others = frozenset(label for cell in frame[table_format.label_column] for label in _split(cell, table_format))
    return _targets(table_format, csv, frame, _Labels(labels, (), others - set(labels)), [])


def _find_images(ids: pd.Series, folder: Path, table_format: TableFormat, remarks: list[str]) -> np.ndarray:
    """Which ids have an image, bool (N,); images that no row names become a remark."""
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: the recipe's `table` names it as a folder of images")
    top = {entry.name for entry in os.scandir(folder)}  # one listing, not one stat a row
    found, wanted = np.ones(len(ids), bool), set()
    for channel in table_format.channel_files or ("",):
        names = (ids + table_format.image_suffix.replace("*", channel)).tolist()
        # An id may hold a folder (`ab/ab12`): those few are asked one by one.
        found &= np.array([(folder / name).is_file() if "/" in name else name in top for name in names], bool)
        wanted.update(names)
    ending = table_format.image_suffix.rpartition("*")[2]
    spare = sorted(name for name in top - wanted if name.endswith(ending))
    if spare:
        remarks.append(f"{folder}: {named(spare, 'image')} without a row in the table")
    return found


class _Labels(NamedTuple):
    """Raw labels in column order, the group of each, and labels that are another model's."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    others: frozenset[str] = frozenset()


def _labels(table_format: TableFormat, data_dir: Path, frame: pd.DataFrame) -> _Labels:
    if table_format.labels_csv is None:
        labels = sorted({label for cell in frame[table_format.label_column] for label in _split(cell, table_format)})
        if not labels:
            raise DataError(
                f"{data_dir / table_format.train_csv}: column {table_format.label_column} holds no label at all"
            )
        names = labels
    else:
        csv = data_dir / table_format.labels_csv
        table = read_csv(csv)
        require_columns(table, csv, [table_format.label_id_column, table_format.label_name_column])
        refuse_doubles(table[table_format.label_id_column], csv)
        labels, names = list(table[table_format.label_id_column]), list(table[table_format.label_name_column])
    separator = table_format.name_separator
    groups = [name.split(separator)[0] if separator and separator in name else "" for name in names]
    if (only := table_format.only_group) is None:
        return _Labels(tuple(labels), tuple(groups))
    if only not in groups:
        raise DataError(
            f"`table.only_group` {only!r} is no label group; there are {named(sorted(set(groups)), 'group')}"
        )
    own = [place for place, group in enumerate(groups) if group == only]
    others = frozenset(labels) - {labels[place] for place in own}
    return _Labels(tuple(labels[place] for place in own), (only,) * len(own), others)


def _groups(table_format: TableFormat, frame: pd.DataFrame) -> np.ndarray | None:
    """The group of each row, str (N,)."""
    if table_format.group_column:
        return as_text(frame[table_format.group_column])
    if table_format.group_pattern is None:
        return None
    found = frame[table_format.id_column].str.extract(table_format.group_pattern, expand=True)[0]
    return as_text(found.fillna(frame[table_format.id_column]))


def _split(cell: str, table_format: TableFormat) -> list[str]:
    """The labels of one cell; a multi-class cell is one label whatever it holds."""
    parts = [cell] if table_format.task == "multiclass" else cell.split(table_format.label_separator)
    return [part.strip() for part in parts if part.strip()]


def _targets(
    table_format: TableFormat, csv: Path, frame: pd.DataFrame, labels: _Labels, remarks: list[str]
) -> np.ndarray:
    """int64 (N,) or uint8 (N, C); unknown labels are refused, rows without a label named."""
    column = {label: position for position, label in enumerate(labels.names)}
    cells = [_split(cell, table_format) for cell in frame[table_format.label_column]]
    if labels.others:
        cells = [[label for label in cell if label not in labels.others] for cell in cells]
    unknown = sorted({label for cell in cells for label in cell} - set(column))
    if unknown:
        raise DataError(f"{csv}: {named(unknown, 'label')} not in {table_format.labels_csv or 'the training table'}")
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


def _paths(ids: pd.Series, folder: Path, suffix: str) -> np.ndarray:
    return as_text(str(folder) + os.sep + ids + suffix)
