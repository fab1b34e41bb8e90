"""`import`: predictions of another tool as a run, which is scored, reported and blended like any other."""

from __future__ import annotations

from pathlib import Path

from imettk.commands.validate import validate
from imettk.config import Recipe
from imettk.data.table import read_test_table
from imettk.evaluation.imports import read_oof, read_test
from imettk.experiment.imported import imported_folds, save_imported
from imettk.experiment.prepared import read_prepared
from imettk.progress import say
from imettk.tracking.lock import hold_folder
from imettk.tracking.run_dir import RunDir


def import_predictions(recipe: Recipe, data_dir: Path, run: RunDir, *, oof: Path, test: Path | None) -> None:
    """Write the prediction files of each fold, then what `validate` writes; it prints the scores.

    The folds are those of the run folder, or of a run among its inputs, from which they are copied.

    Args:
        oof: out-of-fold predictions, csv or parquet.
        test: predictions of the test set, a mean over folds.

    Raises:
        MissingFileError: nothing is prepared.
        DataError, MismatchError: ids, folds or values do not fit.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    with hold_folder(run.path):
        prepared = read_prepared(recipe, data_dir, run)
        parts = read_oof(oof, recipe, prepared)
        tests = None
        if test is not None:
            tests = read_test(test, recipe, read_test_table(recipe.table, data_dir, prepared.table))
        run.carry_prepared(run.path)
        save_imported(run, parts, tests)
    folds = ", ".join(map(str, parts))
    rows = sum(len(part.ids) for part in parts.values())
    what = f"{rows} rows of fold{'s' if len(parts) > 1 else ''} {folds}, {len(prepared.table.labels)} labels"
    more = "no test predictions" if tests is None or test is None else f"{len(tests.ids)} test rows of {test}"
    say(f"{oof}: {what}, {more}: ids, folds and values checked")
    # Without the inputs, whose trained models are other runs.
    validate(recipe, data_dir, RunDir(run.path), fold=None)


def is_imported(run: RunDir) -> bool:
    """Return whether a run has another tool's predictions in place of models."""
    return bool(imported_folds(run))
