"""Tables with several rows per image: one for each label of the competition, or one for each label of the image."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import LISTED, list_names
from imettk.data.long_rows import LongRows, join_rows
from imettk.errors import DataError
from imettk.starter.finding import Finding
from imettk.starter.guess_columns import LABEL_NAME, Choices, TrainingRows, are_numbers
from imettk.starter.guess_labels import labels_of
from imettk.starter.guess_misfits import TOLERATED
from imettk.starter.guess_targets import Targets
from imettk.starter.look import Contents
from imettk.starter.naming import MAJORITY, match_names
from imettk.starter.questions import LabelKind
from imettk.tasks.task import NUMBER

SIGNS = ("__", "_", "-", "|", "/", ":", ".", " ")  # separators of id and label; the longest first
MAX_PARTS = 4  # parts of an id or a label around such a separator
MAX_LABELS = 200
PEEKED_ROWS = 2000  # the first rows, which show whether a whole table (a million rows at times) is worth splitting
JOINING_SIGNS = (" ", "|", ";", ",")  # joined labels are separated by the first that no label contains


class _LongForm(NamedTuple):
    """A candidate for reading rows as one label of one image each; see `LongRows`."""

    rows: str
    id_column: str
    ids: pd.Series
    labels: pd.Series


class Gathered(NamedTuple):
    """A competition's tables, each with one row per image.

    Attributes:
        contents: the competition's contents, with long tables gathered into one row per image.
        rows: the naming of the rows of each gathered table.
        findings: a line about each gathered table.
    """

    contents: Contents
    rows: Mapping[str, LongRows]
    findings: tuple[Finding, ...]

    def training_fields(self, csv: str) -> dict[str, str]:
        """Return the fields of the format that describe how a training table names its rows."""
        rows = self.rows.get(csv)
        return {} if rows is None else {"train_rows": rows.rows, "label_column": rows.value_column}


def gather_tables(contents: Contents, sample_csv: str | None, choices: Choices) -> Gathered:
    """Gather the sample submission and training tables that have one row for each image and label.

    Raises:
        DataError: several columns may hold the values.
    """
    long: dict[str, LongRows] = {}
    for csv in contents.tables if choices.train_csv is None else {choices.train_csv} & {*contents.tables}:
        if csv != sample_csv and (rows := _find_long_training(contents, csv, sample_csv, choices)) is not None:
            long[csv] = rows
    known = [rows.labels for rows in long.values()]
    if sample_csv is not None and (rows := _find_long_sample(contents, sample_csv, known)) is not None:
        long[sample_csv] = rows
    tables, findings = dict(contents.tables), []
    for csv, rows in long.items():
        frame = tables[csv]
        tables[csv] = rows.gather(frame, Path(csv))
        listed = ", ".join(rows.labels[:LISTED]) + (", ..." if len(rows.labels) > LISTED else "")
        change = "table.sample_rows" if csv == sample_csv else "table.train_rows"
        reason = f"each of {len(tables[csv])} images has a row for each of {len(rows.labels)} labels ({listed})"
        how = f"called {rows.rows}" if "{" in rows.rows else f"with the label in column {rows.rows}"
        findings.append(Finding("rows", f"{csv}, {len(frame)} rows {how}", reason, change))
    return Gathered(replace(contents, tables=tables), long, tuple(findings))


def _find_long_training(contents: Contents, csv: str, sample_csv: str | None, choices: Choices) -> LongRows | None:
    """Return the naming of the rows of a training table whose images are there; None if each row is an image."""
    frame, sample = contents.tables[csv], None if sample_csv is None else contents.tables[sample_csv]
    asked = [] if sample is None else _listed([sample])
    best: tuple[int, LongRows] | None = None
    for form in _long_forms(frame, contents, choices.id_column):
        labels, images = tuple(dict.fromkeys(form.labels)), form.ids.drop_duplicates().to_numpy()
        are_labels = (
            "{" in form.rows or LABEL_NAME.match(form.rows) or any(set(labels) <= set(names) for names in asked)
        )
        # The form with the most images is taken: p1_s1_cyst splits into p1 and s1_cyst too, but files are called p1_s1.
        if not are_labels or len(images) <= (1 if best is None else best[0]) or _share(images, contents) < MAJORITY:
            continue
        value = _value_column(csv, frame, form, () if sample is None else sample.columns, choices)
        if value is not None:
            best = len(images), LongRows(form.rows, form.id_column, value, labels)
    return None if best is None else best[1]


def _find_long_sample(contents: Contents, csv: str, known: list[tuple[str, ...]]) -> LongRows | None:
    """Return the naming of the rows of a sample submission, whose test images may be hidden; None if each is an image.

    Args:
        known: labels of each training table.
    """
    frame = contents.tables[csv]
    if not (forms := _long_forms(frame, contents, None)):
        return None
    listed = known + _listed(table for name, table in contents.tables.items() if name != csv)
    best: tuple[tuple[bool, bool, int], LongRows] | None = None
    for form in forms:
        if "{" in form.rows and _names_images(form.id_column, csv, contents):
            continue  # ids of images whose files are hidden, such as `17_left`: the side is no label
        labels, images = tuple(dict.fromkeys(form.labels)), form.ids.drop_duplicates().to_numpy()
        names = next((names for names in listed if set(labels) <= set(names)), ())
        shown = _share(images, contents) >= MAJORITY
        rest = [str(column) for column in frame.columns if column not in (form.id_column, form.rows)]
        if len(rest) != 1 or not (names or shown) or (len(images) < 2 and not (names and shown)):
            continue
        rank = bool(names), shown, len(images)
        if best is None or rank > best[0]:
            ordered = tuple(name for name in names if name in labels) or labels
            best = rank, LongRows(form.rows, form.id_column, rest[0], ordered)
    return None if best is None else best[1]


def _names_images(column: str, csv: str, contents: Contents) -> bool:
    """Return whether the cells of this column name images in another table."""
    tables = (table for name, table in contents.tables.items() if name != csv and column in table.columns)
    return any(_share(table[column].to_numpy(), contents) >= MAJORITY for table in tables)


def _listed(tables: Iterable[pd.DataFrame]) -> list[tuple[str, ...]]:
    """Return the lists of names in which all labels may stand: the header of each table, and each of its columns."""
    return [
        names
        for table in tables
        for names in (tuple(map(str, table.columns)), *(tuple(cells.unique()) for _, cells in table.items()))
    ]


def _value_column(
    csv: str, frame: pd.DataFrame, form: _LongForm, asked: Collection[str], choices: Choices
) -> str | None:
    """Return the column that holds the value of each image and label, or None.

    Args:
        asked: columns of the sample submission.

    Raises:
        DataError: several columns may hold them.
    """
    # Values differ within an image and within a label; a column that depends on only one of the two describes it.
    columns = [
        str(column)
        for column in frame.columns
        if column not in (form.id_column, form.rows)
        and (not frame[column].is_unique or are_numbers(frame[column].str.strip()))
        and all(frame[column].groupby(by.to_numpy()).nunique().max() > 1 for by in (form.ids, form.labels))
    ]
    for fits in (
        [choices.label_column],
        [name for name in columns if name in asked],
        [name for name in columns if LABEL_NAME.fullmatch(name)],
        columns,
    ):
        if len(fits) == 1 and fits[0] in columns:
            return fits[0]
    if columns and choices.label_column is None:
        raise DataError(
            f"{csv}: the value of each image and label may be in {list_names(columns, 'column')}: give --label-column"
        )
    return None


def _long_forms(frame: pd.DataFrame, contents: Contents, id_column: str | None) -> list[_LongForm]:
    """List the readings by which every image has one row for each label: first by parts of ids, then by columns."""
    counts = {str(column): frame[column].nunique() for column in frame.columns}
    columns = [column for column in counts if id_column in (None, column)]
    columns = [column for column in columns if not frame[column].str.fullmatch(NUMBER).all()]
    forms: list[_LongForm] = []
    for column in columns:
        split = list(_split_ids(frame[column])) if counts[column] == len(frame) else []
        # If whole ids name images, each row is an image of its own, whatever its id can be split into.
        if split and _share(frame[column].to_numpy(), contents) < MAJORITY:
            forms += split
    for column in columns:
        for other in (name for name, count in counts.items() if count * counts[column] == len(frame) > count > 1):
            labels = frame[other].str.strip()
            if other != column and _is_grid(frame[column], labels):
                forms.append(_LongForm(other, column, frame[column], labels))
    return forms


def _split_ids(cells: pd.Series) -> Iterator[_LongForm]:
    """Yield the readings by which each id is an image's id and a label with a sign between them."""
    head = cells.iloc[:PEEKED_ROWS]
    for sign in SIGNS:
        for number in range(1, min(MAX_PARTS, int(head.str.count(re.escape(sign)).min())) + 1):
            for from_left in (True, False):
                for image_part in (0, 1):
                    label_part = 1 - image_part
                    if not 1 < _split_at(head, sign, number, from_left)[label_part].nunique() <= MAX_LABELS:
                        continue
                    parts = _split_at(cells, sign, number, from_left)
                    if _is_grid(parts[image_part], parts[label_part]):
                        rows = ("{id}" + sign + "{label}", "{label}" + sign + "{id}")[image_part]
                        yield _LongForm(rows, str(cells.name), parts[image_part], parts[label_part])


def _split_at(cells: pd.Series, sign: str, number: int, from_left: bool) -> tuple[pd.Series, pd.Series]:
    """Split each text in two at a sign, after its first `number` parts, or before its last."""
    pairs = []
    for cell in cells:
        parts = cell.split(sign)
        at = number if from_left else len(parts) - number
        pairs.append((sign.join(parts[:at]), sign.join(parts[at:])))
    frame = pd.DataFrame(pairs, columns=["first", "second"], index=cells.index, dtype=str)
    return frame["first"], frame["second"]


def _is_grid(ids: pd.Series, labels: pd.Series) -> bool:
    """Return whether every image has one row for each label."""
    (images, names), (places, known) = pd.factorize(ids), pd.factorize(labels)
    if not 1 < len(known) <= MAX_LABELS or len(names) * len(known) != len(ids):
        return False
    return len(np.unique(images * len(known) + places)) == len(ids) and "" not in (*names, *known)


def _share(names: np.ndarray, contents: Contents) -> float:
    """Return the share of the first of these names that are files in the best folder."""
    namings = match_names(pd.Series(names[:PEEKED_ROWS], dtype=str), contents)
    return namings[0].share if namings else 0.0


def join_images(
    rows: TrainingRows, targets: Targets, choices: Choices, findings: list[Finding], *, annotated: bool = False
) -> tuple[TrainingRows, Targets]:
    """Join the rows of each image, if images have several rows with one label each.

    Args:
        annotated: rows are annotations, so any repeated id is joined; in other tables a few are an oversight.

    Returns:
        The training rows and their labels, one row per image.

    Raises:
        DataError: images have several rows that cannot be joined.
    """
    frame, form = targets.frame, targets.form
    ids = frame[rows.id_column]
    twice = ids.duplicated(keep=False)
    few = twice.sum() <= TOLERATED * len(ids) or ids[twice].nunique() == 1
    if not twice.any() or (few and choices.several is not True and not annotated):
        return rows, targets
    what = f"{rows.csv}: {list_names(ids[twice].unique(), 'id')} more than once, in column {rows.id_column}"
    if targets.kind.is_numeric or "label_columns" in form:
        raise DataError(f"{what}: keep one row of each, or write one row for each image and label, called ID_LABEL")
    column = form["label_column"]
    several = targets.kind is LabelKind.SEVERAL
    same = not several and frame.groupby(rows.id_column)[column].nunique().max() < 2
    if choices.several is False and not same:
        raise DataError(f"{what}: keep one row of each, or give --task multilabel if images have several labels")
    same = same and choices.several is not True
    if not (several or same):
        sign = next((sign for sign in JOINING_SIGNS if not frame[column].str.contains(sign, regex=False).any()), None)
        if sign is None:
            signs = " ".join(JOINING_SIGNS)
            raise DataError(f"{what}, and labels contain all of {signs!r}, so no sign can join them: rename labels")
        form = form | ({} if sign == " " else {"label_separator": sign})
    form = form | {"join_rows": True}
    remarks: list[str] = []
    read = TableFormat(task="multiclass" if same else "multilabel", id_column=rows.id_column, **form)
    joined = join_rows(frame, read, Path(rows.csv), remarks)
    labels = labels_of(joined[column].tolist(), None if same else read.cell_separator)
    reason = f"an id has several rows with {'the same label' if same else 'different labels'}"
    findings.append(Finding("joined rows", remarks[0].partition(": ")[2], reason, "table.join_rows"))
    naming = rows.naming._replace(files=rows.naming.files[~ids.duplicated().to_numpy()])
    kind = LabelKind.ONE if same else LabelKind.SEVERAL
    why = targets.reason if same else reason
    return rows._replace(naming=naming), replace(targets, frame=joined, labels=labels, kind=kind, reason=why, form=form)
