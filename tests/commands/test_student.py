"""A round of `pseudo --rounds` takes the steps of round 0, whatever draws its samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import make_pictures

from imettk.commands.assembly import training_data
from imettk.commands.dry_run import plan_fold
from imettk.commands.student import make_student, with_steps_of
from imettk.config import ExtraTable, FoldConfig, Recipe, RuleConfig, StageConfig, TableFormat, TrainConfig, to_json
from imettk.data.folds import write_folds
from imettk.data.table import read_table
from imettk.experiment.prepared import Prepared, read_prepared
from imettk.experiment.teacher import with_teacher
from imettk.inference.predictor import Predictions, save_predictions
from imettk.tracking.run_dir import RunDir
from imettk.training.schedule import plan_spans

LABELS, NUM_TEST = ("blue", "green", "red"), 30
STAGE = StageConfig(num_epochs=40, batch_size=4, warmup_epochs=4)
BASE = Recipe(
    table=TableFormat(task="multiclass", label_column="label"),
    folds=FoldConfig(num_folds=2),
    train=TrainConfig(loss="cross_entropy", validate_epochs=3),
    stages=(STAGE,),
    rule=RuleConfig(kind="argmax"),
)
STEPS = replace(STAGE, schedule="steps", step_epochs=(4.0, 8.0), step_lrs=(0.5, 0.1))
EXTRA = ExtraTable(csv="more.csv", images="train", weight=4.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Make 24 rows, 12 more in `more.csv`, and labels of 30 test rows, of which each fold is unsure of some."""
    folder = make_pictures(tmp_path_factory.mktemp("student"), [*LABELS] * 12, num_test=NUM_TEST)
    frame = pd.read_csv(folder / "train.csv")
    frame[:24].to_csv(folder / "train.csv", index=False)
    frame[24:].to_csv(folder / "more.csv", index=False)
    ids = [f"test{row:02d}" for row in range(NUM_TEST)]
    pd.DataFrame({"id": ids, "label": [LABELS[row % 3] for row in range(NUM_TEST)]}).to_csv(
        folder / "pseudo.csv", index=False
    )
    sure = [[True] * 20 + [False] * 10, [False] * 6 + [True] * 24]
    values = {"labels": list(LABELS), "folds": [0, 1], "kind": "pseudo", "sure": sure}
    probs = np.full((2, NUM_TEST, 3), 1 / 3, np.float32)
    save_predictions(folder / "pseudo.safetensors", Predictions(np.array(ids), probs, values))
    return folder


def prepared(recipe: Recipe, data: Path, folder: Path) -> Prepared:
    """Write the two files of `prepare` that hold the folds, and read them."""
    table = read_table(recipe.table, data)
    folder.mkdir(exist_ok=True)
    (folder / "table.json").write_text(json.dumps({"recipe": json.loads(to_json(recipe))}))
    folds = np.where(np.arange(len(table)) < 24, np.arange(len(table)) // 3 % 2, -1)
    write_folds(folder / "folds.csv", table.ids, folds)
    return read_prepared(recipe, data, RunDir(folder))


def learned(recipe: Recipe, data: Prepared) -> list[list[int]]:
    """Return the number of steps of each stage, of each fold, as the trainer plans them."""
    counts = []
    for fold in (0, 1):
        samples = training_data(recipe, data, with_teacher(recipe, data, fold)[0], fold, seed=1)
        spans = plan_spans(recipe.stages, [samples.samples_per_epoch(stage) for stage in recipe.stages])
        counts.append([span.last_step - span.first_step for span in spans])
    return counts


@pytest.mark.parametrize(
    "base",
    [
        BASE,
        replace(BASE, stages=(replace(STEPS, batch_size=3), replace(STAGE, hard_examples=0.5, batch_size=6))),
        replace(BASE, stages=(replace(STAGE, sampler="identities", images_per_identity=2, cover_identities=False),)),
        replace(BASE, stages=(replace(STAGE, sampler="identities", images_per_identity=2), STAGE)),
        replace(BASE, table=replace(BASE.table, extra=(EXTRA,))),
    ],
    ids=["plain", "stages", "identities", "every identity", "extra table"],
)
@pytest.mark.parametrize("weight", [None, 3.0])
def test_each_stage_takes_the_steps_of_round_0(data, tmp_path, base, weight):
    before = prepared(base, data, tmp_path / "base")
    student = make_student(base, before, [0, 1], data, weight=weight)
    after = prepared(student, data, tmp_path / "student")
    planned = with_steps_of(base, before, student, after, [0, 1])
    expected, steps = learned(base, before), learned(planned, after)
    assert np.abs(np.array(steps) / expected - 1).max() <= 0.11, (steps, expected)  # folds are unsure of different rows
    assert np.abs(np.mean(steps, axis=0) / np.mean(expected, axis=0) - 1).max() < 0.01
    if base.stages[0].sampler != "identities" and weight is not None:
        assert learned(student, after) != expected
        assert planned.train.validate_epochs < base.train.validate_epochs


def test_labelled_rows_outnumber_the_others_in_no_epoch(data, tmp_path):
    before = prepared(BASE, data, tmp_path / "base")
    student = make_student(BASE, before, [0, 1], data, weight=None)
    assert student.table.extra[0].weight == pytest.approx(12 / 22, abs=1e-6)  # 20 and 24 rows are sure, 12 are own
    base = replace(BASE, table=replace(BASE.table, extra=(EXTRA,)))
    student = make_student(base, prepared(base, data, tmp_path / "more"), [0, 1], data, weight=None)
    assert [extra.weight for extra in student.table.extra] == [4.0, 1.0]


def test_points_of_the_schedule_move_with_the_epochs(data, tmp_path):
    base = replace(BASE, stages=(STEPS,))
    before = prepared(base, data, tmp_path / "base")
    student = make_student(base, before, [0, 1], data, weight=1.0)
    (stage,) = with_steps_of(base, before, student, prepared(student, data, tmp_path / "student"), [0, 1]).stages
    share = 3 / 8.5  # 12 rows in batches of 4; 32 and 36 with the labelled ones
    assert [stage.num_epochs, stage.warmup_epochs, *stage.step_epochs] == pytest.approx(
        [40 * share, 4 * share, 4 * share, 8 * share], rel=1e-5
    )


def test_the_plan_of_a_search_counts_soft_labels_as_the_trainer_does(data, tmp_path):
    student = make_student(BASE, prepared(BASE, data, tmp_path / "base"), [0, 1], data, weight=3.0)
    after = prepared(student, data, tmp_path / "student")
    for fold, steps in zip((0, 1), learned(student, after), strict=True):
        spans = plan_fold(student, after, fold, distilled=with_teacher(student, after, fold)[0])
        assert [span.last_step - span.first_step for span in spans] == steps
