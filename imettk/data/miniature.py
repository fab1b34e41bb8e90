"""A handful of a competition's rows in a folder of its own, in its own format, to try everything on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.data.csv_files import read_csv
from imettk.data.table import SampleTable, read_table
from imettk.plans import TableFormat

IMAGES_A_LABEL = 8  # of a class or identity: enough for every scheme of folds


def make_miniature(table_format: TableFormat, data_dir: Path, out: Path, *, rows: int, test_rows: int) -> int:
    """Lay out `out` as a data folder with about so many training rows; images are links. The number of rows.

    Rows of classes and identities are those of the most frequent ones, some of each; of several labels a row, every
    n-th row. The sample submission keeps its first rows.

    Raises:
        DataError: as `read_table` does.
    """
    table = read_table(table_format, data_dir)
    chosen = set(table.ids[choose_rows(table, rows)].tolist())
    out.mkdir(parents=True)
    tables = {table_format.train_csv, *(extra.csv for extra in table_format.extra)}
    if table_format.train_folders:
        tables.discard(table_format.train_csv)
        for name in sorted(chosen):
            link = out / table_format.train_images / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((data_dir / table_format.train_images / name).resolve())
    for name in tables:
        frame = read_csv(data_dir / name)
        _write(frame[frame[table_format.id_column].isin(chosen)], out / name)
    if (data_dir / table_format.sample_csv).is_file():
        _write(read_csv(data_dir / table_format.sample_csv).head(test_rows), out / table_format.sample_csv)
    if table.targets is not None and table.targets.ndim == 1 and table_format.labels_csv is not None:
        tables.add(table_format.labels_csv)
        rows_of = np.flatnonzero(np.isin(table.ids, list(chosen)))
        present = {table.labels[label] for label in _present(table.targets, rows_of) if label >= 0}
        frame = read_csv(data_dir / table_format.labels_csv)
        _write(frame[frame[table_format.label_name_column].isin(present)], out / table_format.labels_csv)
    _link_rest(data_dir, out)
    return len(chosen)


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


def _write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)


def _link_rest(data_dir: Path, out: Path) -> None:
    """Whatever has not been made small stands there as a link."""
    for entry in os.scandir(data_dir):
        if not os.path.lexists(out / entry.name):
            (out / entry.name).symlink_to(Path(entry.path).resolve())
