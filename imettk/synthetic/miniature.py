"""A handful of a competition's rows in a folder of its own, in its own format, to try everything on."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from imettk.config import ExtraTable, Recipe, RulePlan, TableFormat
from imettk.data.csv_files import read_csv
from imettk.data.identities import read_merged
from imettk.data.table import SampleTable

Plan = TypeVar("Plan", TableFormat, ExtraTable, RulePlan)
IMAGES_A_LABEL = 8  # of a class or identity: enough for every scheme of folds


def make_miniature(
    recipe: Recipe, table: SampleTable, data_dir: Path, out: Path, *, rows: int, test_rows: int
) -> tuple[Recipe, int]:
    """Write a data folder with about so many training rows; return the recipe that reads it, and the number of rows.

    Nothing is written under a name that the recipe gives, which may lead anywhere: a table that is made smaller gets
    a name of ours in `out`, and what is only read (images, boxes, lists) is named by its absolute path.

    Rows of classes and identities are those of the most frequent ones, some of each; of several labels a row, every
    n-th row. The sample submission keeps its first rows.

    Args:
        table: what `read_table` says of the recipe's own tables.
        out: a new folder.

    Raises:
        DataError: a table cannot be read.
    """
    form = _absolute(recipe.table, data_dir)
    chosen = set(table.ids[choose_rows(table, rows)].tolist())
    out.mkdir(parents=True)
    small: dict[str, Any] = {}
    if form.train_folders:
        small["train_images"] = "train"
        for name in sorted(chosen):
            _place(out, f"train/{name}").symlink_to(Path(form.train_images, name).resolve())
    else:
        small["train_csv"] = _write(_rows_of(form.train_csv, form, chosen), out, "train.csv")
    small["extra"] = tuple(
        replace(extra, csv=_write(_rows_of(extra.csv, form, chosen), out, f"extra{number}.csv"))
        for number, extra in enumerate(form.extra)
    )
    if Path(form.sample_csv).is_file():
        small["sample_csv"] = _write(read_csv(Path(form.sample_csv)).head(test_rows), out, "sample_submission.csv")
    if form.labels_csv is not None and table.targets is not None and table.targets.ndim == 1:
        frame = read_csv(Path(form.labels_csv))
        kept = frame[form.label_id_column].isin(_names_of_labels(form, table, chosen))
        small["labels_csv"] = _write(frame[kept], out, "labels.csv")
    return replace(recipe, table=replace(form, **small), rule=_absolute(recipe.rule, data_dir)), len(chosen)


def choose_rows(table: SampleTable, rows: int) -> np.ndarray:
    """Which rows to take, int64 (about `rows`,): of the training table, and a quarter as many of each extra one."""
    assert table.targets is not None and table.sources is not None  # a training table has them
    main = np.flatnonzero(table.sources == 0)
    chosen = [main[_choose(table.targets[main], rows)]]
    present = _present(table.targets, chosen[0])
    for number in range(1, int(table.sources.max()) + 1):
        extra = np.flatnonzero(table.sources == number)
        # Rows of labels that are there; where a table brings only new ones, any.
        known = [row for row in extra if _present(table.targets, np.array([row])) <= present]
        chosen.append(np.array(known or extra.tolist(), np.int64)[: max(4, rows // 4)])
    return np.sort(np.concatenate(chosen))


def _present(targets: np.ndarray, rows: np.ndarray) -> set[int]:
    """Labels that some of these rows have."""
    found = targets[rows]
    return set((np.flatnonzero(found.any(0)) if targets.ndim == 2 else found).tolist())


def _choose(targets: np.ndarray, rows: int) -> np.ndarray:
    if targets.ndim == 2:
        return np.unique(np.linspace(0, len(targets) - 1, min(rows, len(targets))).round().astype(np.int64))
    found: list[np.ndarray] = []
    labels, counts = np.unique(targets[targets >= 0], return_counts=True)
    for label in labels[np.argsort(-counts, kind="stable")]:
        found.append(np.flatnonzero(targets == label)[:IMAGES_A_LABEL])
        if sum(map(len, found)) >= rows:
            break
    found.append(np.flatnonzero(targets < 0)[: max(1, rows // 8)])  # of no known identity
    return np.concatenate(found)


def _names_of_labels(form: TableFormat, table: SampleTable, chosen: set[str]) -> set[str]:
    """The labels of these rows, with the names that `merged_csv` says are the same: any of them may stay one here."""
    assert table.targets is not None
    rows = np.flatnonzero(np.isin(table.ids, list(chosen)))
    names = {table.labels[label] for label in _present(table.targets, rows) if label >= 0}
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
    frame = read_csv(Path(csv))
    return frame[frame[form.id_column].isin(chosen)]


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
