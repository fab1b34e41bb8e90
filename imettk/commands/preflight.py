"""`preflight`: every command in miniature, and the duration of a whole run, before hours are spent."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from imettk.commands.dry_run import duration, measure, plan_fold, total_seconds, with_starts
from imettk.commands.infer import infer
from imettk.commands.prepare import deal_folds, prepare
from imettk.commands.train import train
from imettk.commands.validate import validate
from imettk.config import Recipe
from imettk.data.asked_rows import find_row_source
from imettk.data.sample_table import LabelledTable
from imettk.data.source import ImageSource, make_reader
from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError
from imettk.experiment.prepared import Experiment, Prepared, choose_compute, read_prepared
from imettk.experiment.settle import settle
from imettk.progress import say
from imettk.synthetic.miniature import IMAGES_A_LABEL, make_miniature
from imettk.tracking.files import read_json, write_json
from imettk.tracking.run_dir import RunDir

RESULT = "preflight.json"
MIN_ROWS, TEST_ROWS = 96, 16


def preflight(recipe: Recipe, data_dir: Path, run: RunDir) -> None:
    """Prepare, train in two sessions, validate and infer on a handful of images, then time steps of the real size.

    Writes `preflight.json` with the seconds that a whole fold takes on this machine. Everything else is thrown away.

    Raises:
        UserError: whatever is wrong with the recipe or the data, in the words of the command that finds it.
    """
    started = time.monotonic()
    run.path.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is reported now, not at the end
    table = _check_tables(recipe, data_dir)
    whole = _whole(recipe, table, run)
    plan_fold(recipe, whole, 0)  # raises: the recipe names labels that the table does not have
    with tempfile.TemporaryDirectory() as folder:
        data, inner = Path(folder, "data"), RunDir(Path(folder, "run"))
        small, rows = make_miniature(recipe, table, data_dir, data, rows=_num_rows(recipe), test_rows=TEST_ROWS)
        say(f"preflight: {rows} rows, every command once; its scores mean nothing")
        small = miniature(small)
        _play(small, data, inner)
        device, seconds, sessions = _estimate(recipe, small, data, inner, whole)
    result = {"recipe": recipe.name, "device": device, "seconds_a_fold": round(seconds, 1), "sessions_a_fold": sessions}
    write_json(run.path / RESULT, result)
    say(
        f"everything works, in {time.monotonic() - started:.0f} s; a fold takes about {duration(seconds)} on {device}, "
        f"{sessions} session{'s' if sessions > 1 else ''} of {duration(recipe.session.limit_seconds)}"
    )


def _check_tables(recipe: Recipe, data_dir: Path) -> LabelledTable:
    """Read the training table, and check the whole test set: a handful of its rows would not show what is missing."""
    table = read_table(recipe.table, data_dir)
    if find_row_source(recipe.table, data_dir) is not None:
        read_test_table(recipe.table, data_dir, table)
    return table


def _play(small: Recipe, data: Path, run: RunDir) -> None:
    """Run every command, the training in two sessions."""
    prepare(small, data, run)
    one_step = dataclasses.replace(small, session=dataclasses.replace(small.session, limit_steps=1))
    for recipe in (one_step, small):
        train(recipe, data, run, fold=0, started=time.monotonic())
    state = (read_json(run.path / "fold0" / "status.json") or {}).get("state")
    if state != "done":
        raise DataError(f"the miniature training is {state}: is `session.limit_seconds` too short?")
    validate(small, data, run, fold=0)
    if find_row_source(small.table, data) is not None:
        infer(small, data, run, fold=0, started=time.monotonic())


def _estimate(recipe: Recipe, small: Recipe, data: Path, run: RunDir, whole: Prepared) -> tuple[str, float, int]:
    """Return the device, and the seconds and sessions of a fold of the whole table, from steps of the real size.

    Args:
        data: of the miniature, as are `small` and `run`.
    """
    compute, prepared = choose_compute(recipe), read_prepared(small, data, run)
    experiment = Experiment(small, run, prepared, compute)
    trainer, step_seconds, validation_seconds = measure(experiment, settle(small, run), fold=0)
    validation_seconds *= _num_validated(recipe, whole) / _num_validated(recipe, prepared)
    seconds = total_seconds(recipe, plan_fold(recipe, whole, 0), step_seconds, validation_seconds)
    return str(compute.device), *with_starts(recipe, seconds, trainer.start_seconds)


def _whole(recipe: Recipe, table: LabelledTable, run: RunDir) -> Prepared:
    """Return the whole table with its folds, as `prepare` would leave it in this run folder, without bad images."""
    source = ImageSource(table, make_reader(recipe))  # no image of it is read
    return Prepared(table, deal_folds(recipe, run, table), source, np.zeros(len(table), bool), recipe.task)


def _num_validated(recipe: Recipe, prepared: Prepared) -> int:
    """Return the number of images in a validation of fold 0, at least 1."""
    valid = len(prepared.rows(0, valid=True))
    # Without class centres the training images are embedded as well, to be compared with.
    beside = len(prepared.rows(0, valid=False)) if valid and recipe.model.embeds and recipe.model.centres == 0 else 0
    return max(1, valid + beside)


def miniature(recipe: Recipe) -> Recipe:
    """Return the recipe with two epochs and at most two even cycles a stage, and without a cache.

    Weights of labels go: they are often of rare ones, which a miniature does not have.
    """
    stages = tuple(
        dataclasses.replace(
            plan,
            num_epochs=2.0,
            warmup_epochs=min(plan.warmup_epochs, 1.0),
            num_cycles=min(plan.num_cycles, 2),
            cycle_factor=1.0,
            label_weights={},
        )
        for plan in recipe.stages
    )
    average_last = min(recipe.train.average_last, 2)  # as many weights as there are validations
    train_plan = dataclasses.replace(recipe.train, validate_epochs=1.0, average_last=average_last)
    cache = dataclasses.replace(recipe.cache, kind="none")
    return dataclasses.replace(recipe, stages=stages, train=train_plan, cache=cache)


def _num_rows(recipe: Recipe) -> int:
    """Return enough rows for two steps of the real batch in every stage, and for the identities of a PK batch."""
    needed = [2 * plan.batch_size for plan in recipe.stages]
    needed += [
        IMAGES_A_LABEL * plan.batch_size // plan.images_per_identity
        for plan in recipe.stages
        if plan.sampler == "identities"
    ]
    return max(MIN_ROWS, math.ceil(max(needed) * recipe.folds.num_folds / (recipe.folds.num_folds - 1)))
