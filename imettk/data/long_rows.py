"""Tables with several rows an image, as tables with one, and back."""

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
    """How a table names its rows, each of which is one label of one image.

    In shapes, N is the number of images, T of labels.

    Attributes:
        rows: a pattern of the cells in `id_column`, such as `{id}__{label}`; or the column that names the label.
        id_column: ids of images, or of rows where `rows` is a pattern.
        value_column: what a row says of its label.
        labels: every image has one row for each of them.
    """

    rows: str
    id_column: str
    value_column: str
    labels: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that such a table must have."""
        return (self.id_column, *(() if "{" in self.rows else (self.rows,)), self.value_column)

    def find(self, frame: pd.DataFrame, csv: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of images in the order in which they first come, (N,), and their rows, int64 (N, T).

        Raises:
            DataError: a row names no label, stands twice, or is missing.
        """
        names, labels = self._split(frame, csv)
        images, ids = pd.factorize(names)
        rows = np.full((len(ids), len(self.labels)), -1, np.int64)
        rows[images, labels] = np.arange(len(frame))
        twice = rows[images, labels] != np.arange(len(frame))
        if twice.any():
            which = dict.fromkeys(self._name(names[row], labels[row]) for row in np.flatnonzero(twice).tolist())
            raise DataError(f"{csv}: {list_names(which, 'row')} more than once; an image has one row for each label")
        if (lost := rows < 0).any():
            which = dict.fromkeys(self._name(ids[image], label) for image, label in np.argwhere(lost).tolist())
            raise DataError(
                f"{csv}: {list_names(which, 'row')} missing; an image has one row for each of {', '.join(self.labels)}"
            )
        return ids, rows

    def images(self, frame: pd.DataFrame, csv: Path) -> np.ndarray:
        """Return the id of the image that each row is of, (R,); `DataError` where a row names no label."""
        return self._split(frame, csv)[0]

    def gather(self, frame: pd.DataFrame, csv: Path, *, agree: Collection[str] = ()) -> pd.DataFrame:
        """Return a table with a row an image: its id, a column of values for each label, and all other columns in which
        its rows agree.

        Args:
            agree: columns in which they must.

        Raises:
            DataError: as `find`, or rows of an image differ in such a column, or a label is called as one.
        """
        ids, rows = self.find(frame, csv)
        others = [column for column in frame.columns if column not in self.columns]
        if both := [label for label in self.labels if label in (self.id_column, *others)]:
            raise DataError(f"{csv}: {list_names(both, 'label')} called as a column of the table: rename the column")
        images = np.empty(len(frame), np.int64)
        images[rows] = np.arange(len(ids))[:, None]
        kept = _keep_agreeing(frame[others], images, ids, csv, agree)
        values = dict(zip(self.labels, frame[self.value_column].to_numpy(object)[rows.T], strict=True))
        return pd.DataFrame({self.id_column: ids} | kept | values, dtype=str)

    def spread(self, frame: pd.DataFrame, csv: Path, values: np.ndarray) -> pd.DataFrame:
        """Return a table with other values in its rows; else as `find`.

        Args:
            values: text (N, T), of images in the order in which they first come.
        """
        cells = np.empty(len(frame), object)
        cells[self.find(frame, csv)[1]] = values
        return frame.assign(**{self.value_column: cells})

    def lengthen(self, wide: pd.DataFrame) -> pd.DataFrame:
        """Return a table with a row an image, as `gather` returns, with a row for each image and label."""
        pairs = [(name, label) for name in wide[self.id_column] for label in range(len(self.labels))]
        if "{" in self.rows:
            columns = {self.id_column: [self._name(*pair) for pair in pairs]}
        else:
            columns = {self.id_column: [name for name, _ in pairs], self.rows: [self.labels[at] for _, at in pairs]}
        columns[self.value_column] = wide[list(self.labels)].to_numpy(object).ravel().tolist()
        return pd.DataFrame(columns, dtype=str)

    def _split(self, frame: pd.DataFrame, csv: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return the image that each row is of, (R,), and its label, int64 (R,)."""
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
                which = f"{list_names(cells[strange], 'id')} that are no {self.rows} with one of {known}"
            else:
                which = (
                    f"{list_names(labels[strange].unique(), 'label')} in column {self.rows} that are none of {known}"
                )
            raise DataError(f"{csv}: {which}")
        return names.to_numpy(object), places

    def _regex(self) -> str:
        """An expression for ids of rows, that takes the longest label that fits."""
        labels = "|".join(re.escape(label) for label in sorted(self.labels, key=len, reverse=True))
        return re.escape(self.rows).replace(r"\{id\}", "(?P<id>.+?)").replace(r"\{label\}", f"(?P<label>{labels})")

    def _name(self, name: str, label: int) -> str:
        """Return what a message calls the row of an image and a label."""
        pattern = self.rows if "{" in self.rows else "{id} {label}"
        return pattern.replace("{label}", self.labels[label]).replace("{id}", name)


def sample_rows(table_format: TableFormat) -> LongRows | None:
    """Return how a sample submission names rows of one image and label; None where a row is an image."""
    if table_format.sample_rows is None:
        return None
    return LongRows(
        table_format.sample_rows,
        table_format.test_id_column,
        table_format.value_column,
        table_format.label_answers,
    )


def training_rows(table_format: TableFormat) -> LongRows | None:
    """Return how training tables name rows of one image and label; None where a row is an image."""
    if table_format.train_rows is None:
        return None
    return LongRows(
        table_format.train_rows, table_format.id_column, table_format.label_column, table_format.label_columns
    )


def say_what_to_do(table_format: TableFormat) -> str:
    """Return the end of a message about ids that stand several times in a training table."""
    task, option = TASKS[table_format.task], "--table.join-rows True"
    if table_format.label_columns:
        return ": where a row is one label of an image, `table.train_rows` says how rows are named"
    if not task.exclusive and not task.numbered:
        return f": where each row has some of its labels, {option} joins them"
    several = f", or join rows of one label with {option}; where images have several, take the task multilabel too"
    return f": leave one row of each{'' if task.numbered else several}"


def join_rows(
    frame: pd.DataFrame, table_format: TableFormat, csv: Path, remarks: list[str], *, agree: Collection[str] = ()
) -> pd.DataFrame:
    """Return a table in which rows of one id are one, with the labels of all of them, each once; a remark counts them.

    Args:
        frame: with all labels of a row in `label_column`, joined by `cell_separator`.

    Raises:
        DataError: rows of one id are of several groups, or have different labels where an image has one.
    """
    task, column, separator = TASKS[table_format.task], table_format.label_column, table_format.cell_separator
    images, ids = pd.factorize(frame[table_format.id_column])
    if len(ids) == len(frame):
        return frame
    columns = _keep_agreeing(frame.drop(columns=column), images, ids, csv, agree)
    labels: list[dict[str, None]] = [{} for _ in ids]
    news = 0
    for image, cell in zip(images.tolist(), frame[column], strict=True):
        known = len(labels[image])
        labels[image] |= dict.fromkeys(task.split(cell, separator))
        news += len(labels[image]) > known
    if task.exclusive and (mixed := [name for name, names in zip(ids, labels, strict=True) if len(names) > 1]):
        raise DataError(
            f"{csv}: {list_names(mixed, 'id')} in several rows with different labels: if images have several, "
            "`table.task` is multilabel"
        )
    several = ids[np.bincount(images) > 1]
    again = f"; {len(frame) - news} rows add no label" if news < len(frame) else ""
    remarks.append(f"{csv}: {list_names(several, 'id')} in several rows, which are joined: {len(frame)} rows{again}")
    return pd.DataFrame(columns | {column: [separator.join(names) for names in labels]}, dtype=str)


def _keep_agreeing(
    frame: pd.DataFrame, images: np.ndarray, ids: np.ndarray | pd.Index, csv: Path, agree: Collection[str]
) -> dict[str, np.ndarray]:
    """Return the columns in which all rows of an image agree, with a row an image.

    Args:
        images: of each row, int64 (R,).
        ids: of images, (N,).
        agree: columns in which rows must; else `DataError`.
    """
    kept, first = {}, np.unique(images, return_index=True)[1]
    for column in frame.columns:
        cells = frame[column].to_numpy(object)
        differs = cells != cells[first][images]
        if not differs.any():
            kept[str(column)] = cells[first]
        elif column in agree:
            which = [ids[image] for image in np.unique(images[differs])]
            raise DataError(f"{csv}: {list_names(which, 'image')} whose rows differ in column {column}")
    return kept
