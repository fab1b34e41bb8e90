"""Tables with a row for each image and label, as tables with a row an image, and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import named
from imettk.errors import DataError


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
            raise DataError(f"{csv}: {named(which, 'row')} more than once; an image has one row for each label")
        if (lost := rows < 0).any():
            which = dict.fromkeys(self._name(ids[image], label) for image, label in np.argwhere(lost).tolist())
            raise DataError(
                f"{csv}: {named(which, 'row')} missing; an image has one row for each of {', '.join(self.labels)}"
            )
        return ids, rows

    def images(self, frame: pd.DataFrame, csv: Path) -> np.ndarray:
        """Return the id of the image that each row is of, (R,); `DataError` where a row names no label."""
        return self._split(frame, csv)[0]

    def gather(self, frame: pd.DataFrame, csv: Path) -> pd.DataFrame:
        """Return a table with a row an image: its id, and a column of values for each label; else as `find`."""
        ids, rows = self.find(frame, csv)
        values = dict(zip(self.labels, frame[self.value_column].to_numpy(object)[rows.T], strict=True))
        return pd.DataFrame({self.id_column: ids} | values, dtype=str)

    def spread(self, frame: pd.DataFrame, csv: Path, values: np.ndarray) -> pd.DataFrame:
        """Return a table with other values in its rows; else as `find`.

        Args:
            values: text (N, T), of images in the order in which they first come.
        """
        cells = np.empty(len(frame), object)
        cells[self.find(frame, csv)[1]] = values
        return frame.assign(**{self.value_column: cells})

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
            known = named(self.labels, "label")
            if "{" in self.rows:
                which = f"{named(cells[strange], 'id')} that are no {self.rows} with one of {known}"
            else:
                which = f"{named(labels[strange].unique(), 'label')} in column {self.rows} that are none of {known}"
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
