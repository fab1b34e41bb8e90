"""A competition's csv files and image folders -> `SampleTable`; every bad row is named."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.annotations import find_boxes, is_named, read_names, remark_turned
from imettk.data.asked_rows import find_row_source, read_test_rows
from imettk.data.auxiliary import read_auxiliary
from imettk.data.container_search import describe_expected_member, member_paths, read_training
from imettk.data.csv_files import as_text, list_names, require_columns, require_unique
from imettk.data.identities import merge_labels, merged_into, read_merged
from imettk.data.image_names import name_images, name_test_images
from imettk.data.image_search import describe_expected_file
from imettk.data.label_cells import read_cells
from imettk.data.labels import Labels, count_votes, list_labels, make_targets, split
from imettk.data.listings import labels_of_ids, list_files, list_folders, short_names
from imettk.data.long_rows import advise_on_repeats, join_rows, training_rows
from imettk.data.sample_table import LabelledTable, SampleTable
from imettk.data.units import (
    UNIT,
    describe_units,
    find_files,
    groups_of,
    join_cells,
    list_images,
    read_test_images,
    refuse_disagreement,
    units_of,
)
from imettk.errors import DataError


class _Part(NamedTuple):
    """One of the tables of training rows: its format, its file, and whether no other table shares its image folder."""

    form: TableFormat
    csv: Path
    frame: pd.DataFrame
    unshared: bool


def read_table(table_format: TableFormat, data_dir: Path) -> LabelledTable:
    """Read the training table, followed by the extra ones, and find their images.

    Raises:
        DataError: a file or column is missing, an id is repeated, a label is not listed, a class is missing, or a row
            has no image (unless the format drops such rows). The message names the first few and counts all.
    """
    remarks: list[str] = []
    main, *extra = _read_parts(table_format, data_dir, remarks)
    # Before any row is dropped: a label that occurs only in such rows stays a label.
    merged = merge_labels(table_format, data_dir, [part.frame for part in (main, *extra)], remarks)
    sources = [
        main,
        *(part for part, plan in zip(extra, table_format.extra, strict=True) if plan.new_labels),
    ]
    labels = list_labels(table_format, data_dir, [part.frame for part in sources], merged, remarks)
    parts = [_read_rows(part, data_dir, labels, number, remarks) for number, part in enumerate((main, *extra))]
    others = " and ".join(part.csv.name for part in extra)
    what_to_do = f" in {main.csv.name} and {others} together: add a column of unique ids, named in `table.id_column`"
    # Over all tables: folds, predictions and answers are joined by id.
    require_unique(pd.Series(np.concatenate([part.ids for part in parts])), main.csv, what_to_do)
    arrays: dict[str, Any] = {}
    for item in fields(LabelledTable):
        columns = [getattr(part, item.name) for part in parts]
        if isinstance(columns[0], np.ndarray):
            if item.name in ("groups", "units"):  # tables without them: each row is a group of its own
                columns = [part.ids if column is None else column for part, column in zip(parts, columns, strict=True)]
            arrays[item.name] = np.concatenate(columns)
    names = {"label_groups": labels.groups, "label_titles": labels.titles}
    names |= {"auxiliary_labels": tuple(labels.auxiliary), "auxiliary_groups": tuple(labels.auxiliary.values())}
    return replace(parts[0], **(arrays | names), remarks=tuple(dict.fromkeys(remarks)))


def read_groups(table_format: TableFormat, data_dir: Path) -> dict[str, str]:
    """Read the group of each training row by its id, without looking for images; empty if there are no groups.

    Raises:
        DataError: a file or column is missing.
    """
    groups: dict[str, str] = {}
    if table_format.group_column is None and table_format.group_pattern is None:
        return groups
    for part in _read_parts(table_format, data_dir, []):
        ids, values = as_text(part.frame[part.form.id_column]), groups_of(part.form, part.csv, part.frame, [])
        groups |= zip(ids.tolist(), (ids if values is None else values).tolist(), strict=True)
    return groups


def read_units(table_format: TableFormat, data_dir: Path) -> dict[str, str]:
    """Read the unit of each training image by its id, without opening images; raises as `read_groups`."""
    units: dict[str, str] = {}
    for part in _read_parts(table_format, data_dir, []):
        ids = as_text(part.frame[part.form.id_column])
        values = units_of(part.frame)
        units |= zip(ids.tolist(), (ids if values is None else values).tolist(), strict=True)
    return units


def _read_parts(table_format: TableFormat, data_dir: Path, remarks: list[str]) -> list[_Part]:
    """Read the training table, from its csv or from folders, and the extra ones."""
    if table_format.lists_images:
        csv = data_dir / table_format.train_images
        frame = (list_folders if table_format.train_folders else list_files)(table_format, data_dir, remarks)
    else:
        csv = data_dir / table_format.train_csv
        frame = _read_frame(table_format, csv, remarks)
        require_columns(frame, csv, table_format.auxiliary_columns)
        frame = list_images(table_format, csv, frame, data_dir / table_format.train_images)
    users = _users(table_format)
    parts = [_Part(table_format, csv, frame, users[table_format.train_images] == 1)]
    for extra in table_format.extra:
        form = replace(
            table_format,
            train_csv=extra.csv,
            train_images=extra.images,
            train_folders=False,
            train_files=False,
            image_suffix=table_format.image_suffix if extra.image_suffix is None else extra.image_suffix,
        )
        csv = data_dir / extra.csv
        columns = set(read_training(csv, holds_images=form.holds_images).columns)
        if form.group_column not in columns:
            form = replace(form, group_column=None)
        if not columns >= {*form.path_columns}:
            form = replace(form, image_path=None)
        if not columns >= {*form.unit_columns, *form.image_columns}:  # each image is a unit of its own
            form = replace(form, unit_columns=(), image_columns=(), test_csv=None)
        frame = list_images(form, csv, _read_frame(form, csv, remarks), data_dir / extra.images)
        parts.append(_Part(form, csv, frame, users[extra.images] == 1))
    return parts


def _users(table_format: TableFormat) -> Counter[str]:
    """Count the tables that have their images in each folder."""
    extra = (extra.images for extra in table_format.extra)
    return Counter([table_format.train_images, table_format.test_images, *extra])


def read_test_table(table_format: TableFormat, data_dir: Path, labels: SampleTable) -> SampleTable:
    """Read the test set: the ids of `read_asked` in their order, without targets; labels of the training table.

    A row without an image becomes a remark, because it needs an answer nevertheless.

    Raises:
        DataError: the sample, its columns or every image is missing, an id is repeated, or nothing would fill a column.
    """
    csv = find_row_source(table_format, data_dir) or data_dir / table_format.sample_csv
    remarks: list[str] = []
    units = read_test_rows(table_format, data_dir, remarks)[table_format.test_id_column]
    require_unique(units, csv)
    folder = data_dir / table_format.test_images
    if table_format.has_units:
        frame = read_test_images(table_format, data_dir, csv, units, remarks)
    else:
        frame = pd.DataFrame({table_format.id_column: units})
        frame = name_test_images(table_format, data_dir, csv, frame, remarks)
    ids, suffix = frame[table_format.id_column], table_format.image_suffix
    unshared = _users(table_format)[table_format.test_images] == 1
    files = find_files(table_format, csv, frame, folder, data_dir, remarks, unshared=unshared)
    has_image = files != ""
    if len(ids) and not has_image.any():
        expected = _describe_expected(table_format, frame, folder)
        raise DataError(
            f"{csv}: {list_names(ids, 'row')} without an image in {folder} ({expected}): is that the right folder?"
        )
    if table_format.has_units and not (kept := has_image | ~frame[UNIT].isin(frame[UNIT][has_image]).to_numpy()).all():
        remarks.append(
            f"{csv}: {list_names(ids[~kept], 'image')} not in {folder}; their units are answered by the others"
        )
        frame, ids, files, has_image = frame[kept], ids[kept], files[kept], has_image[kept]
    if not has_image.all():
        remarks.append(
            f"{csv}: {list_names(ids[~has_image], 'row')} without an image in {folder}; they get a neutral answer"
        )
    if table_format.has_units:
        remarks.append(f"{csv}: {describe_units(frame[UNIT].to_numpy(str))}")
    boxes = find_boxes(table_format, data_dir, csv, ids, ids, remarks, needed=False)
    turned = is_named(read_names(table_format.turned_csv, data_dir), ids, suffix)
    remark_turned(csv, table_format.turned_csv, turned, remarks)
    return SampleTable(
        ids=as_text(ids),
        paths=_paths(folder, np.where(has_image, files, ids + suffix)),
        labels=labels.labels,
        label_groups=labels.label_groups,
        label_titles=labels.label_titles,
        units=units_of(frame),
        boxes=boxes,
        turned=turned,
        remarks=tuple(remarks),
    )


def _read_frame(table_format: TableFormat, csv: Path, remarks: list[str]) -> pd.DataFrame:
    """Read a table with unique ids, and with all labels of a row in `label_column`."""
    frame = read_training(csv, remarks, holds_images=table_format.holds_images)
    columns = table_format.label_columns
    named_by = (table_format.group_column, *table_format.unit_columns, *table_format.image_columns)
    beside = [column for column in (*named_by, *table_format.path_columns) if column is not None]
    if (long := training_rows(table_format)) is not None:
        require_columns(frame, csv, [*long.columns, *beside])
        auxiliary = [column for column in table_format.auxiliary_columns if column in frame.columns]
        frame = long.gather(frame, csv, agree=[*beside, *auxiliary])
    require_columns(frame, csv, [table_format.id_column, *columns])
    if not columns and table_format.label_pattern is not None and table_format.label_column not in frame.columns:
        frame = frame.assign(**{table_format.label_column: labels_of_ids(table_format, csv, frame)})
    require_columns(frame, csv, [*([] if columns else [table_format.label_column]), *beside])
    if table_format.join_rows:
        return join_rows(read_cells(frame, table_format, csv), table_format, csv, remarks, agree=beside)
    require_unique(frame[table_format.id_column], csv, advise_on_repeats(table_format))
    return read_cells(frame, table_format, csv)


def _read_rows(part: _Part, data_dir: Path, labels: Labels, number: int, remarks: list[str]) -> LabelledTable:
    """Return the rows of table `number` that have an image and are not left out by the recipe."""
    form, csv, frame, unshared = part
    folder, suffix = data_dir / form.train_images, form.image_suffix
    ids = frame[form.id_column]
    names = short_names(ids) if form.lists_images else ids
    listed = read_names(form.left_out_csv, data_dir)
    kept = ~(is_named(listed, ids, suffix) | is_named(listed, names, suffix))
    known = {*ids, *(ids + suffix), *names} if listed else set()
    if number == 0 and (unknown := listed - known):
        remarks.append(f"{form.left_out_csv}: {list_names(sorted(unknown), 'name')} without a row in {csv}")
    if not kept.all():
        remarks.append(f"{csv}: left out {list_names(ids[~kept], 'row')} listed in {form.left_out_csv}")
    files = as_text(ids)
    if not form.lists_images:  # otherwise the rows were made from existing images
        files = find_files(form, csv, frame, folder, data_dir, remarks, unshared=unshared)
        if (lost := kept & (files == "")).any():
            _handle_lost(part, frame[lost], folder, remarks)
        kept &= files != ""
    if not kept.any():
        raise DataError(f"{csv}: no row is left to train on")
    frame, ids, names, files = frame[kept], ids[kept], names[kept], files[kept]
    turned_names = read_names(form.turned_csv, data_dir)
    turned = is_named(turned_names, ids, suffix) | is_named(turned_names, names, suffix)
    remark_turned(csv, form.turned_csv, turned, remarks)
    targets = make_targets(form, csv, frame, labels, remarks)
    refuse_disagreement(csv, frame, targets)
    return LabelledTable(
        ids=as_text(ids),
        paths=_paths(folder, files),
        labels=labels.names,
        label_groups=(),
        targets=targets,
        auxiliary=read_auxiliary(form, csv, frame, labels.auxiliary, remarks),
        groups=groups_of(form, csv, frame, remarks),
        votes=count_votes(form, frame),
        units=units_of(frame),
        boxes=find_boxes(form, data_dir, csv, ids, names, remarks, needed=number == 0),
        turned=turned,
        sources=np.full(len(ids), number, np.int16),
    )


def _handle_lost(part: _Part, lost: pd.DataFrame, folder: Path, remarks: list[str]) -> None:
    """Raise `DataError` for rows without an image, or remark that they are dropped."""
    form, rows = part.form, list_names(lost[part.form.id_column], "row")
    if form.on_missing_image == "error":
        expected = _describe_expected(form, lost, folder)
        raise DataError(
            f"{part.csv}: {rows} without an image in {folder} ({expected}); add them, or drop such rows with "
            "--table.on-missing-image drop"
        )
    remarks.append(f"{part.csv}: dropped {rows} without an image in {folder}")


def _describe_expected(table_format: TableFormat, frame: pd.DataFrame, folder: Path) -> str:
    """Describe the expected name of the first row's image, in a container or in a folder."""
    names = name_images(table_format, frame)
    return describe_expected_member(names, folder, table_format) or describe_expected_file(names, folder, table_format)


def read_answers(
    table_format: TableFormat,
    csv: Path,
    labels: tuple[str, ...],
    ids: np.ndarray,
    *,
    data_dir: Path | None = None,
) -> np.ndarray:
    """Read the targets of known answers in the format of the training table, in the order of `ids`.

    Args:
        ids: ids of units if several images share one answer.
        data_dir: folder of `merged_csv`, for a format that has one.

    Returns:
        int64 (N,) class indices, -1 for the unknown label, or uint8 (N, C).
    """
    if not csv.is_file():
        raise DataError(f"{csv} is missing: --answers names the table with the known answers")
    left_out: dict[str, Any] = {"group_column": None, "image_path": None, "image_columns": (), "test_csv": None}
    form = replace(table_format, **left_out, auxiliary_columns=())
    frame = _read_frame(form, csv, [])
    if form.unit_columns:
        frame = frame.assign(**{UNIT: join_cells(frame, form.unit_columns)})
    key = frame[UNIT if form.unit_columns else form.id_column]
    if absent := sorted(set(ids) - set(key)):
        raise DataError(f"{csv}: no answer for {list_names(absent, 'id')}")
    frame = frame[key.isin(ids)]
    others = frozenset[str]()
    if form.only_group is not None:  # labels outside the group belong to another model
        others = frozenset(label for cell in frame[form.label_column] for label in split(cell, form))
    merged = {} if data_dir is None else merged_into(labels, read_merged(form, data_dir))
    targets = make_targets(form, csv, frame, Labels(labels, (), others - set(labels), merged), [])
    refuse_disagreement(csv, frame, targets)
    rows = {name: row for row, name in enumerate(key[key.isin(ids)])}
    return targets[[rows[name] for name in ids.tolist()]]


def _paths(folder: Path, files: np.ndarray) -> np.ndarray:
    return as_text(member_paths(folder, files.tolist()))
