"""Folds of the full iMet table: how even, how fast, how much memory, beside iterative-stratification.

`python tools/bench/folds.py [--check] [--quick]`; the table is `../shared/data/tables/imet2019`. The library takes a
minute for ten folds; `--quick` deals the first 3,000 rows.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from table import Row, arguments_of, finish, print_machine

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
IMET = SHARED / "tables" / "imet2019" / "train_with_folds.csv"
NUM_FOLDS, NUM_LABELS = 10, 1103


def read_targets(num_rows: int | None = None) -> np.ndarray:
    """Read the labels of iMet 2019's training table, uint8 (N, 1103)."""
    cells = [cell.split() for cell in pd.read_csv(IMET, dtype=str, nrows=num_rows)["attribute_ids"]]
    targets = np.zeros((len(cells), NUM_LABELS), np.uint8)
    rows = np.repeat(np.arange(len(cells)), [len(cell) for cell in cells])
    targets[rows, np.concatenate(cells).astype(int)] = 1
    return targets


def ours(targets: np.ndarray) -> np.ndarray:
    """Deal folds by `imettk`, int64 (N,)."""
    from imettk.config import FoldConfig
    from imettk.data.folds import make_folds
    from imettk.tasks import TASKS

    return make_folds(targets, FoldConfig(num_folds=NUM_FOLDS), task=TASKS["multilabel"])


def theirs(targets: np.ndarray) -> np.ndarray:
    """Deal folds by iterative-stratification, int64 (N,)."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    folds = np.zeros(len(targets), np.int64)
    splits = MultilabelStratifiedKFold(NUM_FOLDS, shuffle=True, random_state=0).split(targets, targets)
    for fold, (_, valid) in enumerate(splits):
        folds[valid] = fold
    return folds


def measure(deal: Callable[[np.ndarray], np.ndarray], num_rows: int | None) -> tuple[float, ...]:
    """Return seconds, MB beside the table, the mean deviation, the largest, and the mean of each label's largest."""
    targets = read_targets(num_rows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    folds = deal(targets)
    seconds = time.perf_counter() - started
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    counts = np.stack([targets[folds == fold].sum(0, dtype=np.int64) for fold in range(NUM_FOLDS)])
    off = np.abs(counts - targets.sum(0) / NUM_FOLDS)
    return seconds, more, float(off.mean()), float(off.max()), float(off.max(0).mean())


def main() -> None:
    arguments = arguments_of(__doc__).parse_args()
    if not IMET.is_file():
        sys.exit(f"{IMET} is not here")
    num_rows, rounds = (3_000, 1) if arguments.quick else (None, 3)
    print_machine("iterative-stratification", "scipy", "numpy")
    print(f"{NUM_FOLDS} folds of {num_rows or 109_237:,} rows with {NUM_LABELS:,} labels\n")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:  # a fresh process each time
        of_theirs = [pool.apply(measure, (theirs, num_rows))]
        of_ours = [pool.apply(measure, (ours, num_rows)) for _ in range(rounds)]
    columns, their_columns = list(zip(*of_ours, strict=True)), list(zip(*of_theirs, strict=True))
    names = (
        "seconds",
        "MB beside the table",
        "mean deviation, rows",
        "largest deviation, rows",
        "mean of a label's largest",
    )
    rows = []
    for name, values, other in zip(names, columns, their_columns, strict=True):
        bar = {"seconds": None if arguments.quick else 6.0, names[1]: None}.get(name, other[0])
        rows += [Row(name, values, "", (), bar), Row("  iterative-stratification", other)]
    finish(rows, arguments)


if __name__ == "__main__":
    main()
