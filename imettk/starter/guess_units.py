"""Units, several images with one answer: by columns that name the unit, by folders, or by several files per row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.image_names import name_images
from imettk.data.long_rows import LongRows
from imettk.data.part_names import is_held_out, is_training
from imettk.data.units import describe_units, join_cells
from imettk.starter.finding import Finding
from imettk.starter.guess_columns import Choices, TrainingRows, label_candidates
from imettk.starter.guess_sample import Sample
from imettk.starter.look import Contents
from imettk.starter.naming import MAJORITY, best_in, match_names
from imettk.starter.naming_folders import name_folders, name_part, path_pattern

MAX_JOINED = 3  # columns whose joined cells may name a unit


@dataclass(frozen=True, kw_only=True)
class UnitRows:
    """Training rows whose images form units with one answer each.

    Attributes:
        rows: the training table, with the first image of each row.
        form: fields of `TableFormat` that describe the units.
        not_labels: columns that name images.
        num_images: number of images of all rows.
        finding: a line about the units.
        sample_id: the column of the sample submission that names units; None without a sample.
        find_test: units of the sample -> the folder of test images, and the first file of each unit, "" for none.
    """

    rows: TrainingRows
    form: dict[str, Any]
    not_labels: tuple[str, ...] = ()
    num_images: int
    finding: Finding
    sample_id: str | None = None
    find_test: Callable[[pd.Series], tuple[str, np.ndarray] | None] = field(default=lambda units: None)

    def sample(self, contents: Contents, csv: str | None, long: LongRows | None = None) -> Sample | None:
        """Return the sample submission, whose ids name units, not images; see `Sample` for `long`."""
        if csv is None or self.sample_id is None:
            return None
        return Sample(csv, contents.tables[csv], self.sample_id, None, long)

    def with_test(self, form: TableFormat, sample: Sample) -> tuple[TableFormat, np.ndarray, str]:
        """Return the format with the folder of test images, the first image of each unit, and the reason."""
        names = sample.frame[sample.id_column]
        test = self.find_test(names)
        if test is None:
            return form, np.full(len(names), ""), f"found by its name; none of its {len(names)} units has an image"
        folder, files = test
        reason = f"found by its name; {int((files != '').sum())} of its {len(names)} units have images in {folder}/"
        return replace(form, test_images=folder), files, reason


def find_units(
    contents: Contents, choices: Choices, sample_csv: str | None, rows: TrainingRows | None
) -> UnitRows | None:
    """Return the training table if several images form a unit with one answer, otherwise None.

    Args:
        rows: the table that names images, None if none does.
    """
    if rows is not None and (units := _find_view_units(contents, choices, sample_csv, rows)) is not None:
        return units
    by_columns = None if rows is None or sample_csv is None else _find_column_units(contents, sample_csv, rows)
    if by_columns is not None:
        return by_columns
    units = _find_folder_units(contents, choices, sample_csv)
    if rows is None or units is None:
        return units
    # Ids that name folders may also name files within one of these by accident, as the numbers of studies do those of
    # slices. A table whose unique ids name images elsewhere has no units.
    inner = rows.naming.folder.startswith(f"{units.rows.naming.folder}/")
    return units if inner or not contents.tables[rows.csv][rows.id_column].is_unique else None


def lists_units(contents: Contents, sample_csv: str | None) -> bool:
    """Return whether a table lists every id of the sample submission, and some of them several times."""
    if sample_csv is None:
        return False
    asked = contents.tables[sample_csv]
    return any(
        column in frame.columns and frame[column].duplicated().any() and set(cells) <= set(frame[column])
        for csv, frame in contents.tables.items()
        if csv != sample_csv
        for column, cells in asked.items()
        if len(cells) and cells.is_unique
    )


def _find_view_units(
    contents: Contents, choices: Choices, sample_csv: str | None, rows: TrainingRows
) -> UnitRows | None:
    """Return units by several columns that each name an image, all in one folder; None without such columns."""
    frame, folder = contents.tables[rows.csv], rows.naming.folder
    if choices.id_column is not None or not frame[rows.id_column].is_unique:
        return None
    views = {rows.id_column: rows.naming}
    for column in map(str, frame.columns):
        if column in views or frame[column].nunique() < MAJORITY * len(frame):
            continue
        namings = [naming for naming in match_names(frame[column], contents) if naming.folder == folder]
        if not namings or namings[0].share < MAJORITY or namings[0].suffix != rows.naming.suffix:
            continue
        if not any(namings[0].is_same(folder, known.files) for known in views.values()):
            views[column] = namings[0]
    columns = tuple(column for column in map(str, frame.columns) if column in views)
    if len(columns) < 2:
        return None
    asked = () if sample_csv is None else tuple(contents.tables[sample_csv].columns)
    test_csv = _table_with(contents, {rows.csv, sample_csv}, columns)
    beside = () if test_csv is None else tuple(contents.tables[test_csv].columns)
    unique = [str(column) for column in frame.columns if column not in columns and frame[column].is_unique]
    ids = sorted(unique, key=lambda column: (column not in asked, column not in beside))
    id_column = next(iter(ids), columns[0])
    sample_id = id_column if id_column in asked else next(iter(asked), None)

    def find_test(units: pd.Series) -> tuple[str, np.ndarray] | None:
        if test_csv is None:
            return None
        test = contents.tables[test_csv]
        key = sample_id if sample_id in test.columns else id_column
        naming = best_in(match_names(test[columns[0]], contents), is_held_out)
        if key not in test.columns or naming is None:
            return None
        return naming.folder, _first_files(units, test[key], naming.files)

    listed = " and ".join(columns)
    reason = f"{'both' if len(columns) == 2 else 'all'} name images in {folder}/, for one answer per row"
    return UnitRows(
        rows=rows._replace(id_column=id_column),
        form={"image_columns": columns} | ({} if test_csv is None else {"test_csv": test_csv}),
        not_labels=columns,
        num_images=sum(int(naming.found.sum()) for naming in views.values()),
        finding=Finding("units", f"the images of a row's {listed}", reason, "table.image_columns"),
        sample_id=sample_id,
        find_test=find_test,
    )


def _find_column_units(contents: Contents, sample_csv: str, rows: TrainingRows) -> UnitRows | None:
    """Return units that the sample submission asks for and a table of test images lists; None without such a table."""
    for csv, test in contents.tables.items():
        asked = contents.tables[sample_csv]
        keys = [str(column) for column in asked.columns if column in test.columns and asked[column].is_unique]
        keys = [column for column in keys if len(test) and set(asked[column]) <= set(test[column])]
        if not keys or csv in (sample_csv, rows.csv):
            continue
        frame = contents.tables[rows.csv]
        columns = _unit_columns(frame, test, keys[0], rows.id_column)
        if not columns or rows.id_column == keys[0] or rows.id_column not in test.columns:
            continue
        units = join_cells(frame, columns)
        if units.duplicated().any() or test[keys[0]].duplicated().any():
            return _make_column_units(contents, rows, csv, keys[0], columns, units)
    return None


def _unit_columns(frame: pd.DataFrame, test: pd.DataFrame, key: str, id_column: str) -> tuple[str, ...]:
    """Return the columns of the training table that name its units: joined, they equal the test table's `key`."""
    if key in frame.columns:
        return (key,)
    both = [str(column) for column in frame.columns if column in test.columns and column != id_column]
    few = [column for column in both if test[column].iloc[0] in test[key].iloc[0]]
    for count in range(1, MAX_JOINED + 1):
        for columns in combinations(few, count):
            for order in (columns, columns[::-1]):
                if (join_cells(test, order) == test[key]).all():
                    return order
    return ()


def _make_column_units(
    contents: Contents, train: TrainingRows, test_csv: str, key: str, columns: tuple[str, ...], units: pd.Series
) -> UnitRows:
    """Return units by columns of the training table.

    Args:
        key: the column of the test table that names units.
        columns: those of the training table.
        units: the unit of each training row.
    """
    test, pattern = contents.tables[test_csv], path_pattern(contents.tables[train.csv], train)

    def find_test(asked: pd.Series) -> tuple[str, np.ndarray] | None:
        form = TableFormat(id_column=train.id_column, image_path=pattern)
        naming = name_part(name_images(form, test), contents, training=False)
        return None if naming is None else (naming.folder, _first_files(asked, test[key], naming.files))

    joined = " and ".join(columns)
    reason = f"{test_csv} lists the images of each {key} that the sample submission asks for"
    path = {} if pattern is None else {"image_path": pattern}
    return UnitRows(
        rows=train,
        form={"unit_columns": columns, "test_csv": test_csv} | path,
        num_images=int(train.naming.found.sum()),
        finding=Finding("units", f"{joined}, {describe_units(units.to_numpy(str))}", reason, "table.unit_columns"),
        sample_id=key,
        find_test=find_test,
    )


def _find_folder_units(contents: Contents, choices: Choices, sample_csv: str | None) -> UnitRows | None:
    """Return units by a table whose ids name folders of images, and whose labels repeat; None without such a table."""
    names = [choices.train_csv] if choices.train_csv else [csv for csv in contents.tables if csv != sample_csv]
    for csv in sorted((csv for csv in names if csv in contents.tables), key=lambda csv: not is_training(csv)):
        frame = contents.tables[csv]
        for column in map(str, frame.columns) if choices.id_column is None else {choices.id_column} & {*frame.columns}:
            naming = name_folders(frame[column], contents, training=True) if frame[column].is_unique else None
            if naming is None or naming.share < MAJORITY:
                continue
            if _are_answers(frame[column], csv, column, contents, choices, sample_csv):
                continue
            # If no column repeats a value, the table may be a list of classes with their names.
            if not any(frame[other].nunique() < len(frame) for other in label_candidates(frame, column)):
                continue
            rows = TrainingRows(csv, column, naming, "its ids name folders of images")
            return _make_folder_units(contents, rows, sample_csv)
    return None


def _are_answers(
    cells: pd.Series, csv: str, column: str, contents: Contents, choices: Choices, sample_csv: str | None
) -> bool:
    """Return whether names of folders are classes, not units.

    They are if the sample submission answers with them; without one, unless the table is called after training.
    """
    if sample_csv is None:
        return choices.train_csv is None and not is_training(csv)
    known = set(cells)
    return any(
        set(asked) <= known and (name != column or not asked.is_unique)
        for name, asked in contents.tables[sample_csv].items()
    )


def _make_folder_units(contents: Contents, rows: TrainingRows, sample_csv: str | None) -> UnitRows:
    """Return units by folders that the ids of training rows name."""
    naming, sample_id = rows.naming, None
    if sample_csv is not None:
        sample = contents.tables[sample_csv]
        shares = {}
        for column in map(str, sample.columns):
            test = name_folders(sample[column], contents, training=False)
            shares[column] = 0.0 if test is None else test.share
        best = max(shares, key=lambda column: (shares[column], column == rows.id_column))
        sample_id = best if shares[best] or rows.id_column not in sample.columns else rows.id_column

    def find_test(units: pd.Series) -> tuple[str, np.ndarray] | None:
        test = name_folders(units, contents, training=False)
        return None if test is None else (test.folder, test.files)

    ids = contents.tables[rows.csv][rows.id_column]
    known, inside = set(ids), Counter(PurePosixPath(name).parts[0] for name in contents.below(naming.folder))
    counts = [count for name, count in inside.items() if name in known]
    units = describe_units(np.repeat(np.arange(len(counts)), counts))
    reason = f"{int(naming.found.sum())} of {len(ids)} ids name folders in {naming.folder}/, for one answer per folder"
    return UnitRows(
        rows=rows,
        form={"unit_folders": True},
        num_images=sum(counts),
        finding=Finding("units", f"column {rows.id_column}, {units}", reason, "table.unit_folders"),
        sample_id=sample_id,
        find_test=find_test,
    )


def _table_with(contents: Contents, others: set[str | None], columns: tuple[str, ...]) -> str | None:
    """Return the table that lists test images in these columns, or None."""
    tables = [csv for csv, frame in contents.tables.items() if csv not in others and {*columns} <= {*frame.columns}]
    return min(tables, key=lambda csv: (not is_held_out(PurePosixPath(csv).stem), csv), default=None)


def _first_files(units: pd.Series, of_rows: pd.Series, files: np.ndarray) -> np.ndarray:
    """Return the first file of each unit, str (M,), "" for none."""
    known: dict[str, str] = {}
    for unit, file in zip(of_rows, files.tolist(), strict=True):
        if file:
            known.setdefault(unit, file)
    return np.array([known.get(unit, "") for unit in units], np.str_)
