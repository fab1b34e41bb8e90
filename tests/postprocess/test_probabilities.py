"""Probabilities as answers: their columns and cells, and their calibration."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss

from imettk.config import Recipe, RuleConfig, ScoreConfig, TableFormat, TrainConfig
from imettk.errors import ConfigError, MismatchError
from imettk.evaluation.rules import fitter_of
from imettk.evaluation.scoring import honest_scores
from imettk.postprocess.calibration import with_temperature
from imettk.postprocess.probabilities import Probabilities
from imettk.tasks import TASKS

pytestmark = pytest.mark.usefixtures("no_charts_here")

CLASSES, LABELS = TASKS["multiclass"], TASKS["multilabel"]
PROBS = np.array([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]], np.float32)


def test_cells_are_the_numbers_of_the_columns_and_sum_to_1():
    rule = Probabilities(exclusive=True, columns=("c", "a", "b"))
    cells = rule.cells(PROBS, ("a", "b", "c"), CLASSES)
    values = np.array(cells, np.float64)
    np.testing.assert_allclose(values, PROBS[:, [2, 0, 1]], rtol=1e-6)
    assert (np.abs(values.sum(1) - 1) < 1e-8).all()
    assert Probabilities(positive="b").cells(PROBS, ("a", "b", "c"), LABELS) == [["0.699999988"], ["0.300000012"]]


@pytest.mark.parametrize(
    ("task", "known", "cells"),
    [(CLASSES, [["c"], ["a"]], [["1", "0"], ["0", "1"]]), (LABELS, [["a", "c"], []], [["1", "1"], ["0", "0"]])],
)
def test_what_is_known_is_1_or_0(task, known, cells):
    rule = Probabilities(exclusive=task.exclusive, columns=("c", "a"))
    assert rule.known_cells(known, ("a", "b", "c"), task) == cells


@pytest.mark.parametrize(
    ("rule", "labels", "places"),
    [
        (Probabilities(), ("x",), [0]),
        (Probabilities(), ("0", "1"), [1]),
        (Probabilities(positive="cat"), ("cat", "dog"), [0]),
        (Probabilities(columns=("b", "a")), ("a", "b", "c"), [1, 0]),
    ],
)
def test_which_label_a_column_is_of(rule, labels, places):
    assert rule.places(labels) == places


@pytest.mark.parametrize(
    ("rule", "labels", "message"),
    [
        (
            Probabilities(),
            ("cat", "dog"),
            "set --rule.positive to its label, one of cat, dog, or give each label a column",
        ),
        (Probabilities(positive="cow"), ("cat", "dog"), "`rule.positive` 'cow' is not a label; labels are cat, dog"),
        (
            Probabilities(columns=("cow",)),
            tuple("abcdefg"),
            "cow: not a label; labels are a, b, c, d, e and 2",
        ),
    ],
)
def test_what_is_not_said_is_one_line(rule, labels, message):
    with pytest.raises(ConfigError) as caught:
        rule.places(labels)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_decisions_and_confidence_are_those_of_the_likeliest_or_of_a_half():
    assert Probabilities(exclusive=True).decisions(PROBS).tolist() == [1, 2]
    assert Probabilities().decisions(PROBS).tolist() == [[False, True, False], [False, False, False]]
    assert Probabilities(exclusive=True).confidence(PROBS).tolist() == pytest.approx([0.7, 0.4])
    assert Probabilities().confidence(PROBS).tolist() == pytest.approx([0.7, 0.6])  # of the most doubtful label
    rule = Probabilities(exclusive=True, positive="a", columns=("a",), temperature=1.5, clip=0.01)
    assert Probabilities.from_json(json.loads(json.dumps(rule.to_json()))) == rule


def calibrated(task, **more):
    loss = "cross_entropy" if task == "multiclass" else "bce"
    return Recipe(
        table=TableFormat(task=task, label_column="label", answer_columns=more.pop("columns", ())),
        train=TrainConfig(loss=loss),
        rule=RuleConfig(kind="probability", calibrate="temperature", **more),
    )


def too_sure(task, seed=0, num_rows=300):
    """Return the predictions of a network whose logits are three times too large, and the truth."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.2, (num_rows, 3))
    if task == "multilabel":
        return (1 / (1 + np.exp(-3 * logits))).astype(np.float32), (
            rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
        ).astype(np.uint8)
    true, predicted = (np.exp(factor * logits) / np.exp(factor * logits).sum(1, keepdims=True) for factor in (1, 3))
    return predicted.astype(np.float32), (rng.random((num_rows, 1)) > true.cumsum(1)).sum(1)


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("multiclass", {"columns": ("a", "b", "c")}),
        ("multiclass", {"positive": "b"}),
        ("multilabel", {"columns": ("a", "b", "c")}),
        ("multilabel", {"positive": "c"}),
    ],
)
def test_each_fold_is_calibrated_by_the_others_and_judged_so(task, more):
    probs, targets = too_sure(task)
    recipe, folds = calibrated(task, **more), np.arange(300) % 3
    fitter = fitter_of(recipe, labels=("a", "b", "c"))
    scores, answers = honest_scores(recipe, fitter, probs, targets, folds)
    assert scores["rule_fitted_on_other_folds"] is fitter.learns is True
    expected = np.zeros(probs.shape)
    for fold in range(3):
        rule = fitter.fit(probs[folds != fold], targets[folds != fold])
        assert 2 < rule.temperature < 5
        expected[folds == fold] = rule.apply(probs[folds == fold])
    np.testing.assert_array_equal(answers, expected)
    truth = targets[:, None] == np.arange(3) if task == "multiclass" else targets
    columns = [("a", "b", "c").index(more["positive"])] if "positive" in more else range(3)
    by_column = np.mean([log_loss(truth[:, column], expected[:, column], labels=[0, 1]) for column in columns])
    of_classes = task == "multiclass" and "columns" in more
    assert scores["oof"] == pytest.approx(log_loss(targets, expected) if of_classes else by_column, rel=1e-6)
    plain = replace(recipe, rule=replace(recipe.rule, calibrate=None))
    before = honest_scores(plain, fitter_of(plain, labels=("a", "b", "c")), probs, targets, folds)[0]
    assert scores["oof"] < before["oof"] - 0.05 and scores["log_loss"] == before["log_loss"]
    line = fitter.tell(fitter.fit(probs, targets), answers, probs, targets)
    assert line.startswith("calibrated: temperature ") and "\n" not in line
    assert line.endswith(f"log loss {before['oof']:.4f} before, {scores['oof']:.4f} after")


def test_a_calibrated_rule_is_whole_and_written_rows_sum_to_1():
    probs, _ = too_sure("multiclass")
    rule = Probabilities(exclusive=True, columns=("c", "b", "a"), temperature=2.0, clip=0.05)
    written = np.array(rule.cells(rule.apply(probs), ("a", "b", "c"), CLASSES), np.float64)
    assert (np.abs(written.sum(1) - 1) < 1e-6).all() and written.min() > 0.045
    power = np.sqrt(probs.astype(float))
    np.testing.assert_allclose(
        with_temperature(probs, 2.0, exclusive=True), power / power.sum(1, keepdims=True), rtol=1e-5
    )
    assert np.array(rule.known_cells([["c"]], ("a", "b", "c"), CLASSES), float)[0] == pytest.approx(
        np.array([0.95, 0.05, 0.05]) / 1.05
    )
    assert (rule.confidence(probs) == rule.apply(probs).max(1)).all()
    for wrong in ({"temperature": 0}, {"temperature": "2"}, {"clip": 0.5}, {"clip": -0.1}, {"temperature": 1e9}):
        with pytest.raises(MismatchError, match="holds invalid values"):
            Probabilities.from_json(rule.to_json() | wrong)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: replace(calibrated("multilabel", positive="a"), score=ScoreConfig(metric="roc_auc")),
            "`rule.calibrate` serves `score.metric` log_loss, and it is roc_auc: leave it out",
        ),
        (
            lambda: RuleConfig(kind="threshold", calibrate="temperature"),
            "`calibrate` of RuleConfig must be none unless `kind` is probability, got 'temperature'",
        ),
    ],
)
def test_calibration_is_refused_where_it_does_not_count(make, line):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == line


def test_pairs_are_the_likeliest_labels_with_their_probabilities_behind_them():
    rule, labels = Probabilities(pairs=2), ("8815", "17", "5")
    cells = rule.cells(PROBS.astype(float), labels, LABELS)
    assert cells == [["17", "0.699999988", "5", "0.200000003"], ["5", "0.400000006", "8815", "0.300000012"]]
    expected = PROBS.copy()
    expected[0, 0] = expected[1, 1] = 0
    np.testing.assert_allclose(rule.read_cells(cells, labels), expected, rtol=1e-6)
    assert rule.known_cells([["5"], []], labels, LABELS) == [["5", "1"], []]
    assert Probabilities(pairs=5).cells(PROBS, labels, LABELS)[0][-2:] == ["8815", "0.100000001"]
    assert Probabilities.from_json(json.loads(json.dumps(rule.to_json()))) == rule
