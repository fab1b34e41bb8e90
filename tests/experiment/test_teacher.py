"""Targets become (1 - weight) * own + weight * mean of the teachers, row by row."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imettk.config import RankConfig, Recipe, RuleConfig, TableFormat, TrainConfig
from imettk.data.table import read_table
from imettk.errors import MismatchError, MissingFileError
from imettk.experiment.prepared import Prepared
from imettk.experiment.teacher import teach, with_teacher
from imettk.inference.predictor import Predictions, save_predictions
from imettk.recipes.digits import digits
from imettk.tasks import TASKS
from imettk.tasks.multilabel import Multilabel


@pytest.fixture
def table(digits_data):
    return read_table(digits().table, digits_data / "data")


def save(path: Path, table, rows, probs) -> str:
    save_predictions(path, Predictions(table.ids[rows], probs, {"labels": list(table.labels)}))
    return str(path)


def test_the_blend(table, tmp_path):
    generator = np.random.default_rng(0)
    first, second = np.arange(0, 50), np.arange(40, 72)
    probs = [generator.random((2, len(rows), 15), np.float32) for rows in (first, second)]
    paths = tuple(
        save(tmp_path / f"{number}.safetensors", table, rows, one)
        for number, (rows, one) in enumerate(zip((first, second), probs, strict=True))
    )
    taught, _ = teach(table, np.arange(72), paths, weight=0.3, task=TASKS["multilabel"])
    for row in range(72):
        known = [
            one[:, list(rows).index(row)].mean(0)
            for rows, one in zip((first, second), probs, strict=True)
            if row in rows
        ]
        expected = 0.7 * table.targets[row] + 0.3 * np.mean(known, 0)
        np.testing.assert_allclose(taught.targets[row], expected, rtol=1e-5)
    assert taught.targets.dtype == np.float32


def test_classes_become_distributions(table, tmp_path):
    classes = replace(table, targets=np.arange(72) % 15)
    path = save(tmp_path / "p", table, np.arange(72), np.full((1, 72, 15), 1 / 15, np.float32))
    taught, _ = teach(classes, np.arange(72), (path,), weight=0.5, task=TASKS["multiclass"])
    np.testing.assert_allclose(taught.targets.sum(1), 1, rtol=1e-5)
    assert (taught.targets.argmax(1) == classes.targets).all()


def test_what_is_missing_or_of_other_labels_is_refused(table, tmp_path):
    path = save(tmp_path / "half", table, np.arange(30), np.zeros((1, 30, 15), np.float32))
    with pytest.raises(MissingFileError, match="no file knows 42 of 72 training rows"):
        teach(table, np.arange(72), (path,), weight=0.5, task=TASKS["multilabel"])
    with pytest.raises(MissingFileError, match=r"absent\.safetensors is missing"):
        teach(table, np.arange(72), (str(tmp_path / "absent.safetensors"),), weight=0.5, task=TASKS["multilabel"])
    other = replace(table, labels=(*table.labels[:-1], "x"))
    with pytest.raises(MismatchError, match="other labels"):
        teach(other, np.arange(72), (path,), weight=0.5, task=TASKS["multilabel"])


def test_targets_that_are_numbers_already_stay_what_the_table_says(table, tmp_path):
    """Validation reads the same table: what a teacher adds must not reach it."""
    numbers = replace(table, targets=table.targets.astype(np.float32) * 3)
    path = save(tmp_path / "p", table, np.arange(72), np.zeros((1, 72, 15), np.float32))
    taught, _ = teach(numbers, np.arange(72), (path,), weight=0.5, task=Numbers())
    np.testing.assert_array_equal(numbers.targets, table.targets * 3)
    np.testing.assert_array_equal(taught.targets, table.targets * 1.5)


class Numbers(Multilabel):
    """A task with float targets, as of a regression."""

    def soft_answers(self, answers, num_outputs):
        return answers


def test_a_row_of_no_known_identity_never_trains_whatever_a_teacher_says(table, tmp_path):
    classes = np.arange(72) % 15
    classes[[3, 40]] = -1
    rows = replace(table, targets=classes, sources=np.zeros(72, np.int16))
    prepared = Prepared(rows, np.arange(72) % 2, None, np.zeros(72, bool), TASKS["multiclass"])
    path = save(tmp_path / "p", table, np.arange(72), np.full((1, 72, 15), 1 / 15, np.float32))
    recipe = Recipe(
        table=TableFormat(task="multiclass", unknown_label="new"),
        train=TrainConfig(loss="cross_entropy", teacher=(path,)),
        rule=RuleConfig(kind="rank"),
        ranking=RankConfig(by="probs"),
    )
    taught, _ = with_teacher(recipe, prepared, 1)
    assert taught.targets.shape == (72, 15)
    expected = [row for row in range(0, 72, 2) if classes[row] >= 0]
    assert taught.rows(1, valid=False).tolist() == expected == prepared.rows(1, valid=False).tolist()
