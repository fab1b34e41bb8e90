"""`prepare`: check the table and every image, make the folds."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from imettk.config import Recipe, to_json
from imettk.data.decode import find_fault
from imettk.data.folds import make_folds, read_folds, write_folds
from imettk.data.table import SampleTable, read_table, read_test_table
from imettk.errors import DataError
from imettk.progress import progress_bar, say
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import RunDir


def prepare(recipe: Recipe, data_dir: Path, run: RunDir) -> None:
    """Write `recipe.json`, `folds.csv` and `table.json` (what was found and what was odd) into the run folder.

    Raises:
        DataError: the table is not what the recipe says, or images cannot be read; each fault is named and counted.
        MismatchError: the folder holds the training of another recipe, or of other data.
    """
    table = read_table(recipe.table, data_dir)
    remarks = list(table.remarks)
    paths = table.paths
    if (data_dir / recipe.table.sample_csv).is_file():
        test = read_test_table(recipe.table, data_dir, table)
        remarks += test.remarks
        paths = np.concatenate([paths, test.paths])
    else:
        remarks.append(f"{data_dir / recipe.table.sample_csv} is missing: `infer` will need it")
    for remark in remarks:
        say(f"note: {remark}")
    _check_images(paths)
    run.save_recipe(recipe)
    folds = make_folds(_targets(table), recipe.folds, groups=table.groups)
    if run.has_training():
        folds = read_folds(run.path / "folds.csv", table)
        say("kept the folds that training has begun with")
    write_folds(run.path / "folds.csv", table.ids, folds)
    write_json(run.path / "table.json", {"recipe": json.loads(to_json(recipe)), "rows": len(table), "remarks": remarks})
    say(_summary(table, folds))


def _targets(table: SampleTable) -> np.ndarray:
    assert table.targets is not None  # a training table has them
    return table.targets


def _check_images(paths: np.ndarray) -> None:
    """Decode every image once."""
    faults = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress_bar("check images", total=len(paths), unit="image") as bar,
    ):
        for path, fault in zip(paths, pool.map(find_fault, map(str, paths)), strict=True):
            bar.update()
            if fault is not None:
                faults.append(f"{path} ({fault})")
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise DataError(
            f"{len(faults)} of {len(paths)} images cannot be read: {'; '.join(faults[:3])}{more}; "
            "replace them, or take their rows out of the table"
        )


def _summary(table: SampleTable, folds: np.ndarray) -> str:
    """What was made, in a few lines: folds, their sizes, and how evenly labels fell."""
    targets = _targets(table)
    counts = np.stack(
        [
            np.bincount(targets[folds == fold], minlength=len(table.labels))
            if targets.ndim == 1
            else targets[folds == fold].sum(0)
            for fold in range(folds.max() + 1)
        ]
    )
    mean = counts.mean(0)
    seen = mean > 0
    spread = np.abs(counts - mean).max(0)[seen] / mean[seen]
    groups = "" if table.groups is None else f" in {len(np.unique(table.groups))} groups"
    lines = [f"{len(table)} rows{groups}, {len(table.labels)} labels, {int((~seen).sum())} of them without a row"]
    lines.append("folds: " + ", ".join(f"{fold}: {size} rows" for fold, size in enumerate(np.bincount(folds))))
    lines.append(f"a label's rows differ between folds by {spread.mean():.1%} on average, {spread.max():.1%} at most")
    return "\n".join(lines)
