"""A miniature of a competition: a few of its rows in a new folder, in its own format, for a quick trial of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd

from imettk.config import ExtraTable, Recipe, RuleConfig, TableFormat
from imettk.data.asked_rows import as_sample, find_row_source, read_test_rows
from imettk.data.container_search import read_training
from imettk.data.identities import read_merged
from imettk.data.long_rows import sample_rows, training_rows
from imettk.data.sample_table import LabelledTable
from imettk.data.table_files import read_rows

Section = TypeVar("Section", TableFormat, ExtraTable, RuleConfig)
Labels: TypeAlias = Sequence[Sequence[int]]  # the labels of each row
IMAGES_A_LABEL = 8  # images of each class or identity: enough for every scheme of folds


def make_miniature(
    recipe: Recipe, table: LabelledTable, data_dir: Path, out: Path, *, rows: int, test_rows: int
) -> tuple[Recipe, int]:
    """Write a data folder with about so many training rows; return the recipe that reads it, and the number of rows.

    If each row has one label, some rows of each of the most frequent labels are taken, otherwise every n-th row. The
    sample submission keeps its first rows.

    Args:
        table: the recipe's own tables, as `read_table` reads them.
        out: a new folder.

    Raises:
        DataError: a table cannot be read.
    """
    assert table.sources is not None  # a training table has them
    # The recipe's names may lead anywhere, so nothing is written under one of them: reduced tables get names of ours in
    # `out`, and what is only read (images, boxes, lists) is named by its absolute path.
    form = _absolute(recipe.table, data_dir)
    task = recipe.task
    labels = [() if task.numeric else tuple(task.labels_of(target).tolist()) for target in table.targets]
    taken = _choose_whole_units(recipe, table, labels, rows)
    names = table.ids if table.units is None or not form.rows_are_units else table.units
    chosen = set(names[taken].tolist())
    out.mkdir(parents=True)
    present = {table.labels[label] for label in _present(labels, taken) if label >= 0}
    small = {**_write_training(form, chosen, out), **_write_sample(form, test_rows, out)}
    if form.labels_csv is not None and recipe.task.exclusive:
        frame = read_rows(Path(form.labels_csv))
        kept = frame[form.label_id_column].isin(_with_merged(form, present))
        small["labels_csv"] = _write(frame[kept], out, "labels.csv")
    return replace(recipe, table=replace(form, **small), rule=_absolute(recipe.rule, data_dir)), len(chosen)


def _choose_whole_units(recipe: Recipe, table: LabelledTable, labels: Labels, rows: int) -> np.ndarray:
    """Choose about `rows` rows; a unit of several images is taken whole, and counts as its first image."""
    assert table.sources is not None
    if table.units is None:
        return choose_rows(labels, table.sources, rows)
    firsts = np.sort(np.unique(table.units, return_index=True)[1])
    num_units = max(4 * recipe.folds.num_folds, rows * len(firsts) // len(table))
    chosen = firsts[choose_rows([labels[row] for row in firsts.tolist()], table.sources[firsts], num_units)]
    return np.flatnonzero(np.isin(table.units, table.units[chosen]))


def _write_training(form: TableFormat, chosen: set[str], out: Path) -> dict[str, Any]:
    """Write the chosen rows of the training table and of each extra one; return the fields of the format that differ.

    Args:
        chosen: ids of images or units.
    """
    small: dict[str, Any] = {}
    if form.lists_images:
        small["train_images"] = "train"
        for name in sorted(chosen):
            _place(out, f"train/{name}").symlink_to(Path(form.train_images, name).resolve())
    else:
        small["train_csv"] = _write(_rows_of(form.train_csv, form, chosen), out, "train.csv")
    small["extra"] = tuple(  # pseudo labels are known by their content, which is another one here
        replace(extra, csv=_write(_rows_of(extra.csv, form, chosen), out, f"extra{number}.csv"), content="")
        for number, extra in enumerate(form.extra)
    )
    return small


def _write_sample(form: TableFormat, test_rows: int, out: Path) -> dict[str, Any]:
    """Write the first test rows as a sample submission; return the fields of the format that differ."""
    asked = find_row_source(form, Path())
    if asked is None:
        return {}
    if asked == Path(form.sample_csv):
        first = _first_of_sample(form, test_rows)
    else:
        first = as_sample(form, read_test_rows(form, Path()).head(test_rows))
    return {"sample_csv": _write(first, out, "sample_submission.csv")}


def choose_rows(labels: Labels, sources: np.ndarray, rows: int) -> np.ndarray:
    """Choose about `rows` rows of the training table, and a quarter as many of each extra one.

    Args:
        labels: the labels of each row, -1 for no known identity, (N,).
        sources: the number of each row's table, 0 for the training table, int (N,).

    Returns:
        Sorted positions of rows, int64 (M,).
    """
    main = np.flatnonzero(sources == 0)
    chosen = [_choose(labels, main, rows)]
    present = _present(labels, chosen[0])
    for number in range(1, int(sources.max()) + 1):
        extra = np.flatnonzero(sources == number).tolist()
        # Rows whose labels are chosen already, or any rows if the table has only new labels.
        known = [row for row in extra if present.issuperset(labels[row])]
        chosen.append(np.array(known or extra, np.int64)[: max(4, rows // 4)])
    return np.sort(np.concatenate(chosen))


def _is_one_each(labels: Labels) -> bool:
    """Return whether each row has exactly one label."""
    return all(len(row) == 1 for row in labels)


def _present(labels: Labels, rows: np.ndarray) -> set[int]:
    """Return the labels of these rows."""
    return {label for row in rows for label in labels[row]}


def _choose(labels: Labels, table: np.ndarray, rows: int) -> np.ndarray:
    """Choose about `rows` of a table's rows."""
    if not _is_one_each(labels):
        return table[np.unique(np.linspace(0, len(table) - 1, min(rows, len(table))).round().astype(np.int64))]
    members: dict[int, list[int]] = {}
    for row in table.tolist():
        members.setdefault(labels[row][0], []).append(row)
    unknown = members.pop(-1, [])
    chosen: list[int] = []
    for label in sorted(members, key=lambda label: (-len(members[label]), label)):
        chosen += members[label][:IMAGES_A_LABEL]
        if len(chosen) >= rows:
            break
    return np.array(chosen + unknown[: max(1, rows // 8)], np.int64)


def _with_merged(form: TableFormat, names: set[str]) -> set[str]:
    """Add the names that `merged_csv` equates with these: any of them may be the one that is kept here."""
    return names.union(*(line for line in read_merged(form, Path()) if names & set(line)))


def _absolute(section: Section, data_dir: Path) -> Section:
    """Return a section of the recipe with an absolute path in place of every file and folder."""
    paths: dict[str, Any] = {}
    for item in fields(section):
        value = getattr(section, item.name)
        if item.name == "extra":
            paths[item.name] = tuple(_absolute(extra, data_dir) for extra in value)
        elif item.name.rpartition("_")[2] in ("csv", "images") and value is not None:
            paths[item.name] = str((data_dir / value).absolute())
    return replace(section, **paths)


def _rows_of(csv: str, form: TableFormat, chosen: set[str]) -> pd.DataFrame:
    """Return the rows of a training table that belong to the chosen images or units."""
    own_images = csv in (form.train_images, *(extra.images for extra in form.extra))
    frame, long = read_training(Path(csv), holds_images=own_images), training_rows(form)
    ids = frame[form.id_column] if long is None else pd.Series(long.images(frame, Path(csv)), frame.index)
    return frame[ids.isin(chosen)]


def _first_of_sample(form: TableFormat, rows: int) -> pd.DataFrame:
    """Return the rows of the sample submission's first images."""
    csv, long = Path(form.sample_csv), sample_rows(form)
    frame = read_rows(csv)
    if long is None:
        return frame.head(rows)
    images = long.images(frame, csv)
    return frame[np.isin(images, list(dict.fromkeys(images))[:rows])]


def _write(frame: pd.DataFrame, out: Path, name: str) -> str:
    """Write a table into `out`, and return its name there."""
    frame.to_csv(_place(out, name), index=False)
    return name


def _place(out: Path, name: str) -> Path:
    """Return the path of a file in `out`, and make its folder.

    Raises:
        RuntimeError: the path leads out of `out`; a bug, stopped at the last moment before anything is overwritten.
    """
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(out.resolve()) or path.is_symlink():
        raise RuntimeError(f"{path} is not inside {out}")
    return path
