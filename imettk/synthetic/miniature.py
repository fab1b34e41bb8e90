"""A handful of a competition's rows in a folder of its own, in its own format, to try everything on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd

from imettk.config import ExtraTable, Recipe, RuleConfig, TableFormat
from imettk.data.asked_rows import as_sample, find_asked, read_asked
from imettk.data.container_search import read_training
from imettk.data.identities import read_merged
from imettk.data.long_rows import sample_rows, training_rows
from imettk.data.sample_table import SampleTable
from imettk.data.table_files import read_rows

Plan = TypeVar("Plan", TableFormat, ExtraTable, RuleConfig)
Labels: TypeAlias = Sequence[Sequence[int]]  # of each row
IMAGES_A_LABEL = 8  # of a class or identity: enough for every scheme of folds


def make_miniature(
    recipe: Recipe, table: SampleTable, data_dir: Path, out: Path, *, rows: int, test_rows: int
) -> tuple[Recipe, int]:
    """Write a data folder with about so many training rows; return the recipe that reads it, and the number of rows.

    Nothing is written under a name that the recipe gives, which may lead anywhere: a table that is made smaller gets
    a name of ours in `out`, and what is only read (images, boxes, lists) is named by its absolute path.

    Where each row has one label, they are some rows of each of the most frequent labels, else every n-th row. The
    sample submission keeps its first rows.

    Args:
        table: what `read_table` says of the recipe's own tables.
        out: a new folder.

    Raises:
        DataError: a table cannot be read.
    """
    assert table.targets is not None and table.sources is not None  # a training table has them
    form = _absolute(recipe.table, data_dir)
    task = recipe.task
    labels = [() if task.numeric else tuple(task.labels_of(target).tolist()) for target in table.targets]
    firsts = np.arange(len(table))
    if table.units is not None:  # whole ones, of which each counts as its first image
        firsts = np.sort(np.unique(table.units, return_index=True)[1])
        rows = max(4 * recipe.folds.num_folds, rows * len(firsts) // len(table))
    taken = firsts[choose_rows([labels[row] for row in firsts.tolist()], table.sources[firsts], rows)]
    names = table.ids
    if table.units is not None:
        taken = np.flatnonzero(np.isin(table.units, table.units[taken]))
        names = table.units if form.rows_are_units else names
    chosen = set(names[taken].tolist())
    out.mkdir(parents=True)
    small: dict[str, Any] = {}
    if form.lists_images:
        small["train_images"] = "train"
        for name in sorted(chosen):
            _place(out, f"train/{name}").symlink_to(Path(form.train_images, name).resolve())
    else:
        small["train_csv"] = _write(_rows_of(form.train_csv, form, chosen), out, "train.csv")
    small["extra"] = tuple(
        replace(extra, csv=_write(_rows_of(extra.csv, form, chosen), out, f"extra{number}.csv"))
        for number, extra in enumerate(form.extra)
    )
    if (asked := find_asked(form, Path())) is not None:
        made = asked != Path(form.sample_csv)
        first = as_sample(form, read_asked(form, Path()).head(test_rows)) if made else _first_of_sample(form, test_rows)
        small["sample_csv"] = _write(first, out, "sample_submission.csv")
    if form.labels_csv is not None and recipe.task.exclusive:
        frame = read_rows(Path(form.labels_csv))
        present = {table.labels[label] for label in _present(labels, taken) if label >= 0}
        kept = frame[form.label_id_column].isin(_with_merged(form, present))
        small["labels_csv"] = _write(frame[kept], out, "labels.csv")
    return replace(recipe, table=replace(form, **small), rule=_absolute(recipe.rule, data_dir)), len(chosen)


def choose_rows(labels: Labels, sources: np.ndarray, rows: int) -> np.ndarray:
    """Choose about `rows` rows of the training table, and a quarter as many of each extra one.

    Args:
        labels: those of each row, -1 for no known identity, (N,).
        sources: the number of each row's table, 0 for the training table, int (N,).

    Returns:
        Positions of rows, sorted, int64 (M,).
    """
    main = np.flatnonzero(sources == 0)
    chosen = [_choose(labels, main, rows)]
    present = _present(labels, chosen[0])
    for number in range(1, int(sources.max()) + 1):
        extra = np.flatnonzero(sources == number).tolist()
        # Rows of labels that are there; where a table brings only new ones, any.
        known = [row for row in extra if present.issuperset(labels[row])]
        chosen.append(np.array(known or extra, np.int64)[: max(4, rows // 4)])
    return np.sort(np.concatenate(chosen))


def _is_one_each(labels: Labels) -> bool:
    return all(len(row) == 1 for row in labels)


def _present(labels: Labels, rows: np.ndarray) -> set[int]:
    """Labels that some of these rows have."""
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
    """Add the names that `merged_csv` says are the same: any of them may stay one here."""
    return names.union(*(line for line in read_merged(form, Path()) if names & set(line)))


def _absolute(plan: Plan, data_dir: Path) -> Plan:
    """The same with every file and folder of images by its absolute path."""
    found: dict[str, Any] = {}
    for item in fields(plan):
        value = getattr(plan, item.name)
        if item.name == "extra":
            found[item.name] = tuple(_absolute(extra, data_dir) for extra in value)
        elif item.name.rpartition("_")[2] in ("csv", "images") and value is not None:
            found[item.name] = str((data_dir / value).absolute())
    return replace(plan, **found)


def _rows_of(csv: str, form: TableFormat, chosen: set[str]) -> pd.DataFrame:
    own_images = csv in (form.train_images, *(extra.images for extra in form.extra))
    frame, long = read_training(Path(csv), holds_images=own_images), training_rows(form)
    ids = frame[form.id_column] if long is None else pd.Series(long.images(frame, Path(csv)), frame.index)
    return frame[ids.isin(chosen)]


def _first_of_sample(form: TableFormat, rows: int) -> pd.DataFrame:
    """The sample submission of so many images."""
    csv, long = Path(form.sample_csv), sample_rows(form)
    frame = read_rows(csv)
    if long is None:
        return frame.head(rows)
    images = long.images(frame, csv)
    return frame[np.isin(images, list(dict.fromkeys(images))[:rows])]


def _write(frame: pd.DataFrame, out: Path, name: str) -> str:
    """Write a table into `out`; returns its name there."""
    frame.to_csv(_place(out, name), index=False)
    return name


def _place(out: Path, name: str) -> Path:
    """Where a file of ours goes, its folder made.

    Raises:
        RuntimeError: that is not inside of `out`; a bug, and the last moment to stop it from overwriting anything.
    """
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(out.resolve()) or path.is_symlink():
        raise RuntimeError(f"{path} is not inside of {out}")
    return path
