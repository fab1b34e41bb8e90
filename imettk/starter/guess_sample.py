"""The sample submission: its column of ids, its columns to fill, and the answers that it shows."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.data.long_rows import LongRows
from imettk.data.part_names import is_held_out
from imettk.errors import DataError
from imettk.starter.guess_columns import Choices, plain_name
from imettk.starter.guess_labels import UNKNOWN
from imettk.starter.look import Contents
from imettk.starter.naming import Naming, best_in, match_names
from imettk.starter.questions import Ranked

SAMPLE_NAME = re.compile(r".*(sample|submission).*", re.IGNORECASE)
NUMBERED = re.compile(r"(.*?)[ _-]?(\d+)")
PAIR = re.compile(r"(\S.*) (0?\.\d+|1\.0*|0|1)(e-?\d+)?")  # a label and its probability


@dataclass(frozen=True)
class Sample:
    """A sample submission.

    Attributes:
        id_column: the column that names images.
        naming: how it names them; None if no image is there.
        long: the naming of its rows, if it has one for each image and label; None if each row is an image.
    """

    csv: str
    frame: pd.DataFrame
    id_column: str
    naming: Naming | None
    long: LongRows | None = None

    @property
    def answers(self) -> tuple[str, ...]:
        """The columns to fill with answers."""
        return tuple(column for column in self.frame.columns if column != self.id_column)

    @property
    def cells(self) -> list[str]:
        """The distinct cells of these columns, without empty ones."""
        cells = {cell for column in self.answers for cell in self.frame[column].unique()}
        return sorted(cell for cell in cells if cell.strip())

    @property
    def numbers(self) -> np.ndarray | None:
        """The cells as numbers, float64 (M,); None if any is not a number, or there are none."""
        numbers = pd.to_numeric(pd.Series(self.cells, dtype=object), errors="coerce").to_numpy(np.float64)
        return numbers if len(numbers) and not np.isnan(numbers).any() else None

    @property
    def has_fractions(self) -> bool:
        """True if the cells are numbers, and not all of them whole."""
        numbers = self.numbers
        return numbers is not None and bool((numbers % 1 != 0).any())

    @property
    def shows_probabilities(self) -> bool:
        """True if the cells are numbers from 0 to 1."""
        numbers = self.numbers
        return numbers is not None and bool(((numbers >= 0) & (numbers <= 1)).all())

    def is_answered_by(self, values: Collection[str]) -> bool:
        """Return whether its cells, or the words in them, are some of these values, with the unknown label or not."""
        known, cells = {value.strip() for value in values}, set(map(str.strip, self.cells))
        words = {word for cell in cells for word in cell.split()}
        # Numbers such as 0 and 1 occur in any column, so they single none out.
        if pd.to_numeric(pd.Series(list(words), dtype=object), errors="coerce").notna().all():
            return False
        return any(
            answers & known and (answers <= known or _foreign(answers, known) is not None) for answers in (cells, words)
        )

    def shows_pairs(self, labels: Collection[str]) -> bool:
        """Return whether each cell is a label and a probability, such as `8815 0.03`."""
        matches = [PAIR.fullmatch(cell) for cell in self.cells]
        return bool(matches) and len(self.answers) == 1 and all(match and match[1] in labels for match in matches)


def find_sample(contents: Contents, choices: Choices) -> str | None:
    """Return the table called like a sample submission, the one nearest to the top; None without any."""
    named = [csv for csv in contents.tables if SAMPLE_NAME.fullmatch(Path(csv).stem) and csv != choices.train_csv]
    exact = [csv for csv in named if Path(csv).stem.lower() in ("sample_submission", "samplesubmission")]
    return min(exact or named, key=lambda csv: (csv.count("/"), len(csv), csv), default=None)


def read_sample(
    contents: Contents, csv: str | None, id_column: str | None, long: LongRows | None = None
) -> Sample | None:
    """Read the sample submission: its ids are in the column called like the training table's, or that names images.

    Args:
        csv: None without a sample submission.
        id_column: the training table's column of ids, None without a table.
        long: the naming of its rows, if they were gathered.

    Raises:
        DataError: neither column exists.
    """
    if csv is None:
        return None
    frame = contents.tables[csv]
    if long is not None:
        column = long.id_column
    elif id_column is not None and id_column in frame.columns:
        column = id_column
    else:
        shares = {str(name): _share(frame[name], contents) for name in frame.columns}
        column = max(shares, key=shares.__getitem__)
        if shares[column] == 0:  # test images are hidden, say
            column = _called_alike(frame, csv, id_column)
    # Training images may be called 1.jpg and 2.jpg too, so a folder for testing is preferred.
    return Sample(csv, frame, column, best_in(match_names(frame[column], contents), is_held_out), long)


def _share(ids: pd.Series, contents: Contents) -> float:
    """Return the share of ids that name images in the best folder, 0 if ids repeat."""
    namings = match_names(ids, contents) if ids.is_unique else []
    return namings[0].share if namings else 0.0


def _called_alike(frame: pd.DataFrame, csv: str, id_column: str | None) -> str:
    """Return the column whose name is most like that of the training table's ids, the first without such a table.

    Raises:
        DataError: no single column is.
    """
    if id_column is None:
        return str(frame.columns[0])
    alike = [str(column) for column in frame.columns if plain_name(str(column)) == plain_name(id_column)]
    if len(alike) == 1:
        return alike[0]
    raise DataError(
        f"{csv} has no column {id_column}, and no value in {', '.join(frame.columns)} names an image, so its column of "
        "ids cannot be guessed: name it as in the training table, or give --id-column"
    )


def read_ranked(sample: Sample, labels: set[str], images: set[str]) -> Ranked | None:
    """Return the sample's answers in order, if each training row has one label and the sample several answers.

    Args:
        images: names by which answers may mean images.
    """
    columns, frame = sample.answers, sample.frame
    if set(columns) == labels:  # a column for each label, even if labels are the numbers 0 to 9
        return None
    stems = {match[1] for column in columns if (match := NUMBERED.fullmatch(column))}
    if len(columns) > 1 and len(stems) == 1 and all(NUMBERED.fullmatch(column) for column in columns):
        answers = {cell for column in columns for cell in frame[column].unique()}
        if all(re.fullmatch(r"\d*\.\d+", answer) for answer in answers):  # a probability for each numbered class
            return None
        of_images = len(answers & images) > len(answers) / 2
        return Ranked(columns, len(columns), of_images, None if of_images else _foreign(answers, labels))
    if len(columns) != 1 or frame.empty or sample.shows_pairs(labels):
        return None
    first = str(frame[columns[0]].iloc[0])
    parts = first.split()
    if len(parts) < 2 or first in labels:
        return None
    of_images = set(parts) <= images
    foreign = _foreign(set(parts), labels)
    if not of_images and len(set(parts) - labels) > (foreign is not None):
        return None
    return Ranked((), len(parts), of_images, None if of_images else foreign)


def _foreign(answers: set[str], labels: set[str]) -> str | None:
    """Return the only answer that is not a label, if it is named like one for unknown individuals."""
    foreign = sorted(answers - labels)
    return foreign[0] if len(foreign) == 1 and UNKNOWN.fullmatch(foreign[0]) else None
