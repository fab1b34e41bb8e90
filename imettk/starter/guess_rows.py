"""Tables with several rows an image: a row for each label that there is, or for each label that the image has."""

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
from imettk.starter.guess_columns import LABEL_NAME, MOST, Choices, TrainingRows, are_numbers
from imettk.starter.guess_labels import labels_of
from imettk.starter.guess_misfits import TOLD
from imettk.starter.guess_targets import Targets
from imettk.starter.look import Contents
from imettk.starter.naming import match_names
from imettk.tasks.task import NUMBER

SIGNS = ("__", "_", "-", "|", "/", ":", ".", " ")  # between id and label; the longest first
MOST_PARTS = 4  # of an id or a label, with such a sign between them
MOST_LABELS = 200
FIRST_ROWS = 2000  # by which it shows whether a whole table is worth a look
JOINING = (" ", "|", ";", ",")  # signs of which the first that no label holds stands between joined ones


class _Way(NamedTuple):
    """A way in which rows of a table may be one label of one image; see `LongRows`."""

    rows: str
    id_column: str
    ids: pd.Series
    labels: pd.Series


class Gathered(NamedTuple):
    """A competition's tables, each with a row an image.

    Attributes:
        contents: where rows were labels of images, such tables are gathered.
        rows: how these named their rows, by table.
        findings: what was found of them.
    """

    contents: Contents
    rows: Mapping[str, LongRows]
    findings: tuple[Finding, ...]

    def training_fields(self, csv: str) -> dict[str, str]:
        """Return the fields of the format that say how a training table names its rows."""
        rows = self.rows.get(csv)
        return {} if rows is None else {"train_rows": rows.rows, "label_column": rows.value_column}


def gather_tables(contents: Contents, sample_csv: str | None, choices: Choices) -> Gathered:
    """Gather the sample submission and training tables that have a row for each image and label.

    Raises:
        DataError: which column holds the values cannot be told.
    """
    found: dict[str, LongRows] = {}
    for csv in contents.tables if choices.train_csv is None else {choices.train_csv} & {*contents.tables}:
        if csv != sample_csv and (rows := _of_training(contents, csv, sample_csv, choices)) is not None:
            found[csv] = rows
    known = [rows.labels for rows in found.values()]
    if sample_csv is not None and (rows := _of_sample(contents, sample_csv, known)) is not None:
        found[sample_csv] = rows
    tables, findings = dict(contents.tables), []
    for csv, rows in found.items():
        frame = tables[csv]
        tables[csv] = rows.gather(frame, Path(csv))
        listed = ", ".join(rows.labels[:LISTED]) + (", ..." if len(rows.labels) > LISTED else "")
        change = "table.sample_rows" if csv == sample_csv else "table.train_rows"
        reason = f"each of {len(tables[csv])} images has one for each of {len(rows.labels)} labels ({listed})"
        how = f"as {rows.rows}" if "{" in rows.rows else f"named by column {rows.rows}"
        findings.append(Finding("rows", f"{csv}, {len(frame)} {how}", reason, change))
    return Gathered(replace(contents, tables=tables), found, tuple(findings))


def _of_training(contents: Contents, csv: str, sample_csv: str | None, choices: Choices) -> LongRows | None:
    """Return how a training table, whose images are there, names rows of one image and label; None where a row is an
    image."""
    frame, sample = contents.tables[csv], None if sample_csv is None else contents.tables[sample_csv]
    asked = [] if sample is None else _listed([sample])
    best: tuple[int, LongRows] | None = None
    for way in _ways(frame, contents, choices.id_column):
        labels, images = tuple(dict.fromkeys(way.labels)), way.ids.drop_duplicates().to_numpy()
        called = "{" in way.rows or LABEL_NAME.match(way.rows) or any(set(labels) <= set(names) for names in asked)
        # Of ids such as p1_s1_cyst, p1 is no image though files are called p1_s1.png: the finest way is taken.
        if not called or len(images) <= (1 if best is None else best[0]) or _share(images, contents) < MOST:
            continue
        value = _value_column(csv, frame, way, () if sample is None else sample.columns, choices)
        if value is not None:
            best = len(images), LongRows(way.rows, way.id_column, value, labels)
    return None if best is None else best[1]


def _of_sample(contents: Contents, csv: str, known: list[tuple[str, ...]]) -> LongRows | None:
    """Return the same of a sample submission, whose test images may be hidden.

    Args:
        known: labels of training tables.
    """
    frame = contents.tables[csv]
    if not (ways := _ways(frame, contents, None)):
        return None
    listed = known + _listed(table for name, table in contents.tables.items() if name != csv)
    best: tuple[tuple[bool, bool, int], LongRows] | None = None
    for way in ways:
        if "{" in way.rows and _names_images(way.id_column, csv, contents):
            continue  # of sides of patients, say, whose images are hidden
        labels, images = tuple(dict.fromkeys(way.labels)), way.ids.drop_duplicates().to_numpy()
        names = next((names for names in listed if set(labels) <= set(names)), ())
        shown = _share(images, contents) >= MOST
        rest = [str(column) for column in frame.columns if column not in (way.id_column, way.rows)]
        if len(rest) != 1 or not (names or shown) or (len(images) < 2 and not (names and shown)):
            continue
        rank = bool(names), shown, len(images)
        if best is None or rank > best[0]:
            ordered = tuple(name for name in names if name in labels) or labels
            best = rank, LongRows(way.rows, way.id_column, rest[0], ordered)
    return None if best is None else best[1]


def _names_images(column: str, csv: str, contents: Contents) -> bool:
    """Return whether the cells of this column name images in another table."""
    tables = (table for name, table in contents.tables.items() if name != csv and column in table.columns)
    return any(_share(table[column].to_numpy(), contents) >= MOST for table in tables)


def _listed(tables: Iterable[pd.DataFrame]) -> list[tuple[str, ...]]:
    """Return names among which those of labels may stand: of columns, and in columns."""
    return [
        names
        for table in tables
        for names in (tuple(map(str, table.columns)), *(tuple(cells.unique()) for _, cells in table.items()))
    ]


def _value_column(csv: str, frame: pd.DataFrame, way: _Way, asked: Collection[str], choices: Choices) -> str | None:
    """Return the column that holds what each row says; None where none does.

    Args:
        asked: columns of the sample submission.
    """
    columns = [
        str(column)
        for column in frame.columns
        if column not in (way.id_column, way.rows)
        and (not frame[column].is_unique or are_numbers(frame[column].str.strip()))
        and all(frame[column].groupby(by.to_numpy()).nunique().max() > 1 for by in (way.ids, way.labels))
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
            f"{csv}: what a row says of its label may stand in {list_names(columns, 'column')}: give --label-column"
        )
    return None


def _ways(frame: pd.DataFrame, contents: Contents, id_column: str | None) -> list[_Way]:
    """List the ways in which every image has one row for each label: first by what ids say, then by columns."""
    counts = {str(column): frame[column].nunique() for column in frame.columns}
    columns = [column for column in counts if id_column in (None, column)]
    columns = [column for column in columns if not frame[column].str.fullmatch(NUMBER).all()]
    ways: list[_Way] = []
    for column in columns:
        split = list(_split_ids(frame[column])) if counts[column] == len(frame) else []
        if split and _share(frame[column].to_numpy(), contents) < MOST:  # else each row names an image of its own
            ways += split
    for column in columns:
        for other in (name for name, count in counts.items() if count * counts[column] == len(frame) > count > 1):
            labels = frame[other].str.strip()
            if other != column and _is_grid(frame[column], labels):
                ways.append(_Way(other, column, frame[column], labels))
    return ways


def _split_ids(cells: pd.Series) -> Iterator[_Way]:
    """Yield the ways in which ids are made of an image's and a label."""
    head = cells.iloc[:FIRST_ROWS]
    for sign in SIGNS:
        for number in range(1, min(MOST_PARTS, int(head.str.count(re.escape(sign)).min())) + 1):
            for from_left in (True, False):
                for place in (0, 1):  # of the image
                    if not 1 < _cut(head, sign, number, from_left)[1 - place].nunique() <= MOST_LABELS:
                        continue
                    parts = _cut(cells, sign, number, from_left)
                    if _is_grid(parts[place], parts[1 - place]):
                        rows = ("{id}" + sign + "{label}", "{label}" + sign + "{id}")[place]
                        yield _Way(rows, str(cells.name), parts[place], parts[1 - place])


def _cut(cells: pd.Series, sign: str, number: int, from_left: bool) -> tuple[pd.Series, pd.Series]:
    """Cut each text in two at a sign, behind or before so many parts."""
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
    if not 1 < len(known) <= MOST_LABELS or len(names) * len(known) != len(ids):
        return False
    return len(np.unique(images * len(known) + places)) == len(ids) and "" not in (*names, *known)


def _share(names: np.ndarray, contents: Contents) -> float:
    """Return the largest share of the first of these names that files of one folder have."""
    namings = match_names(pd.Series(names[:FIRST_ROWS], dtype=str), contents)
    return namings[0].share if namings else 0.0


def join_images(
    rows: TrainingRows, targets: Targets, choices: Choices, findings: list[Finding], *, annotated: bool = False
) -> tuple[TrainingRows, Targets]:
    """Return a table and its labels with one row an image, where images have several rows with a label each.

    Args:
        annotated: rows are annotations; of others, a few ids that stand twice are an oversight.

    Raises:
        DataError: they have several rows, which cannot be joined.
    """
    frame, form = targets.frame, targets.form
    ids = frame[rows.id_column]
    twice = ids.duplicated(keep=False)
    few = twice.sum() <= TOLD * len(ids) or ids[twice].nunique() == 1
    if not twice.any() or (few and choices.several is not True and not annotated):
        return rows, targets
    what = f"{rows.csv}: {list_names(ids[twice].unique(), 'id')} more than once, in column {rows.id_column}"
    if targets.numeric or "label_columns" in form:
        raise DataError(f"{what}: leave one row of each, or write one for each image and label, as ID_LABEL")
    column = form["label_column"]
    same = not targets.several and frame.groupby(rows.id_column)[column].nunique().max() < 2
    if choices.several is False and not same:
        raise DataError(f"{what}: leave one row of each, or give --task multilabel where images have several labels")
    same = same and choices.several is not True
    if not (targets.several or same):
        sign = next((sign for sign in JOINING if not frame[column].str.contains(sign, regex=False).any()), None)
        if sign is None:
            raise DataError(f"{what}, and labels hold all of {' '.join(JOINING)!r}: rename them")
        form = form | ({} if sign == " " else {"label_separator": sign})
    form = form | {"join_rows": True}
    remarks: list[str] = []
    read = TableFormat(task="multiclass" if same else "multilabel", id_column=rows.id_column, **form)
    joined = join_rows(frame, read, Path(rows.csv), remarks)
    labels = labels_of(joined[column].tolist(), None if same else read.cell_separator)
    reason = f"ids stand in several rows with {'the same label' if same else 'different labels'}"
    findings.append(Finding("joined rows", remarks[0].partition(": ")[2], reason, "table.join_rows"))
    naming = rows.naming._replace(files=rows.naming.files[~ids.duplicated().to_numpy()])
    return rows._replace(naming=naming), replace(
        targets, frame=joined, labels=labels, several=not same, reason=targets.reason if same else reason, form=form
    )
