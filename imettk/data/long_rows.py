"""Tables with several rows per image, converted to one row per image and back."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import list_names
from imettk.errors import DataError
from imettk.tasks import TASKS


class LongRows(NamedTuple):
    """Layout of a table in which each row is one label of one image.

    N is the number of images, T of labels.

    Attributes:
        rows: pattern of the cells in `id_column`, such as `{id}__{label}`; or the column that names the label.
        id_column: column of image ids, or of row ids if `rows` is a pattern.
        value_column: column of each row's value for its label.
        labels: labels for which every image has a row.
    """

    rows: str
    id_column: str
    value_column: str
    labels: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that such a table must have."""
        return (self.id_column, *(() if "{" in self.rows else (self.rows,)), self.value_column)

    def find(self, frame: pd.DataFrame, csv: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of images in order of first appearance, (N,), and their rows, int64 (N, T).

        Raises:
            DataError: a row names no label, is repeated, or is missing.
        """
        names, labels = self._split(frame, csv)
        images, ids = pd.factorize(names)
        rows = np.full((len(ids), len(self.labels)), -1, np.int64)
        rows[images, labels] = np.arange(len(frame))  # the last of repeated rows wins, so earlier ones show below
        twice = rows[images, labels] != np.arange(len(frame))
        if twice.any():
            repeated = dict.fromkeys(self._name(names[row], labels[row]) for row in np.flatnonzero(twice).tolist())
            raise DataError(f"{csv}: {list_names(repeated, 'row')} more than once; an image has one row per label")
        if (lost := rows < 0).any():
            missing = dict.fromkeys(self._name(ids[image], label) for image, label in np.argwhere(lost).tolist())
            raise DataError(
                f"{csv}: {list_names(missing, 'row')} missing; an image needs rows for all of {', '.join(self.labels)}"
            )
        return ids, rows

    def images(self, frame: pd.DataFrame, csv: Path) -> np.ndarray:
        """Return the image id of each row, (R,); raise `DataError` if a row names no label."""
        return self._split(frame, csv)[0]

    def gather(self, frame: pd.DataFrame, csv: Path, *, agree: Collection[str] = ()) -> pd.DataFrame:
        """Return a table with one row per image: its id, one column per label, and every other column that is constant.

        Args:
            agree: columns that must be constant within each image.

        Raises:
            DataError: as `find`; or such a column is not constant, or a label is the name of another column.
        """
        ids, rows = self.find(frame, csv)
        others = [column for column in frame.columns if column not in self.columns]
        if both := [label for label in self.labels if label in (self.id_column, *others)]:
            raise DataError(f"{csv}: {list_names(both, 'label')} with the name of a column: rename the column")
        images = np.empty(len(frame), np.int64)
        images[rows] = np.arange(len(ids))[:, None]
        kept = _keep_agreeing(frame[others], images, ids, csv, agree)
        values = dict(zip(self.labels, frame[self.value_column].to_numpy(object)[rows.T], strict=True))
        return pd.DataFrame({self.id_column: ids} | kept | values, dtype=str)

    def spread(self, frame: pd.DataFrame, csv: Path, values: np.ndarray) -> pd.DataFrame:
        """Return the table with other values; raises as `find`.

        Args:
            values: text (N, T), of images in order of first appearance.
        """
        cells = np.empty(len(frame), object)
        cells[self.find(frame, csv)[1]] = values
        return frame.assign(**{self.value_column: cells})

    def lengthen(self, wide: pd.DataFrame) -> pd.DataFrame:
        """Convert a table with one row per image, as `gather` returns it, to one row per image and label."""
        pairs = [(name, label) for name in wide[self.id_column] for label in range(len(self.labels))]
        if "{" in self.rows:
            columns = {self.id_column: [self._name(*pair) for pair in pairs]}
        else:
            columns = {self.id_column: [name for name, _ in pairs], self.rows: [self.labels[at] for _, at in pairs]}
        columns[self.value_column] = wide[list(self.labels)].to_numpy(object).ravel().tolist()
        return pd.DataFrame(columns, dtype=str)

    def _split(self, frame: pd.DataFrame, csv: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return the image of each row, (R,), and its label, int64 (R,)."""
        cells = frame[self.id_column]
        if "{" in self.rows:
            parts = cells.str.extract(f"^(?:{self._regex()})$", expand=True)
            names, labels = parts["id"], parts["label"]
        else:
            names, labels = cells, frame[self.rows].str.strip()
        places = pd.Index(self.labels).get_indexer(pd.Index(labels))
        if (strange := places < 0).any():
            known = list_names(self.labels, "label")
            if "{" in self.rows:
                faults = f"{list_names(cells[strange], 'id')} not of the form {self.rows} with one of {known}"
            else:
                faults = f"{list_names(labels[strange].unique(), 'label')} in column {self.rows} not among {known}"
            raise DataError(f"{csv}: {faults}")
        return names.to_numpy(object), places

    def _regex(self) -> str:
        """Return a regular expression for row ids that prefers the longest matching label."""
        labels = "|".join(re.escape(label) for label in sorted(self.labels, key=len, reverse=True))
        return re.escape(self.rows).replace(r"\{id\}", "(?P<id>.+?)").replace(r"\{label\}", f"(?P<label>{labels})")

    def _name(self, name: str, label: int) -> str:
        """Return the name of a row in messages."""
        pattern = self.rows if "{" in self.rows else "{id} {label}"
        return pattern.replace("{label}", self.labels[label]).replace("{id}", name)


def sample_rows(table_format: TableFormat) -> LongRows | None:
    """Return the row layout of a sample submission; None if a row is an image."""
    if table_format.sample_rows is None:
        return None
    return LongRows(
        table_format.sample_rows,
        table_format.test_id_column,
        table_format.value_column,
        table_format.label_answers,
    )


def training_rows(table_format: TableFormat) -> LongRows | None:
    """Return the row layout of training tables; None if a row is an image."""
    if table_format.train_rows is None:
        return None
    return LongRows(
        table_format.train_rows, table_format.id_column, table_format.label_column, table_format.label_columns
    )


def advise_on_repeats(table_format: TableFormat) -> str:
    """Return advice for the end of a message about repeated ids in a training table."""
    task, option = TASKS[table_format.task], "--table.join-rows True"
    if table_format.label_columns:
        return ": if a row is one label of an image, describe the row names in `table.train_rows`"
    if not task.exclusive and not task.numbered:
        return f": if each row has some of its labels, join them with {option}"
    several = f", or join rows of one label with {option}; if images have several, set the task to multilabel too"
    return f": keep one row of each{'' if task.numbered else several}"


def join_rows(
    frame: pd.DataFrame, table_format: TableFormat, csv: Path, remarks: list[str], *, agree: Collection[str] = ()
) -> pd.DataFrame:
    """Return a table with the rows of each id joined, each label once; a remark counts them.

    Args:
        frame: has all labels of a row in `label_column`, joined by `cell_separator`.

    Raises:
        DataError: rows of one id have different groups, or different labels if an image has only one.
    """
    task, column, separator = TASKS[table_format.task], table_format.label_column, table_format.cell_separator
    images, ids = pd.factorize(frame[table_format.id_column])
    if len(ids) == len(frame):
        return frame
    columns = _keep_agreeing(frame.drop(columns=column), images, ids, csv, agree)
    labels: list[dict[str, None]] = [{} for _ in ids]
    num_adding = 0  # rows that add a label to those before them
    for image, cell in zip(images.tolist(), frame[column], strict=True):
        known = len(labels[image])
        labels[image] |= dict.fromkeys(task.split(cell, separator))
        num_adding += len(labels[image]) > known
    if task.exclusive and (mixed := [name for name, names in zip(ids, labels, strict=True) if len(names) > 1]):
        raise DataError(
            f"{csv}: {list_names(mixed, 'id')} in several rows with different labels: if images have several, "
            "set `table.task` to multilabel"
        )
    several = ids[np.bincount(images) > 1]
    idle = f"; {len(frame) - num_adding} rows add no label" if num_adding < len(frame) else ""
    remarks.append(f"{csv}: {list_names(several, 'id')} in several rows, which are joined: {len(frame)} rows{idle}")
    return pd.DataFrame(columns | {column: [separator.join(names) for names in labels]}, dtype=str)


def _keep_agreeing(
    frame: pd.DataFrame, images: np.ndarray, ids: np.ndarray | pd.Index, csv: Path, agree: Collection[str]
) -> dict[str, np.ndarray]:
    """Return the columns that are constant within each image, with one row per image.

    Args:
        images: image of each row, int64 (R,).
        ids: ids of the images, (N,).
        agree: columns that must be constant; otherwise `DataError`.
    """
    kept, first = {}, np.unique(images, return_index=True)[1]
    for column in frame.columns:
        cells = frame[column].to_numpy(object)
        differs = cells != cells[first][images]
        if not differs.any():
            kept[str(column)] = cells[first]
        elif column in agree:
            differing = [ids[image] for image in np.unique(images[differs])]
            raise DataError(f"{csv}: {list_names(differing, 'image')} whose rows differ in column {column}")
    return kept
