"""Probabilities as answers: which label's they are is said, and a submission holds the network's own numbers."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pictures import make_pictures
from sklearn.metrics import log_loss, roc_auc_score
from tiny import refused, run

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    Recipe,
    RuleConfig,
    ScoreConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    to_json,
)
from imettk.errors import ConfigError, MismatchError
from imettk.evaluation.rules import fitter_of
from imettk.evaluation.scoring import honest_scores
from imettk.inference.predictor import load_predictions
from imettk.metrics import METRICS
from imettk.postprocess.calibration import with_temperature
from imettk.postprocess.probabilities import Probabilities
from imettk.tasks import TASKS

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
        (Probabilities(), ("cat", "dog"), "say of which label with --rule.positive, one of cat, dog; or name a column"),
        (Probabilities(positive="cow"), ("cat", "dog"), "`rule.positive` 'cow' is no label; labels are cat, dog"),
        (
            Probabilities(columns=("cow",)),
            tuple("abcdefg"),
            "cow: no label of that name; labels are a, b, c, d, e and 2",
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


def recipe_of(task: str, **table) -> Recipe:
    return Recipe(
        table=TableFormat(task=task, label_column="label", **table),
        folds=FoldConfig(num_folds=2),
        images=ImageFormat(image_size=(32, 32)),
        model=ModelConfig(backbone="timm:test_resnet"),
        train=TrainConfig(loss="cross_entropy" if task == "multiclass" else "bce"),
        stages=(StageConfig(num_epochs=2, batch_size=8),),
        rule=RuleConfig(kind="probability"),
        session=SessionConfig(num_workers=0, tensorboard=False),
    )


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_column_a_label_from_the_table_to_an_ensemble_and_pseudo_labels(tmp_path, capsys, task):
    names = ("dog", "cat", "cow")
    data = make_pictures(tmp_path / "data", [name for name in names for _ in range(8)], num_test=9, answer=0.5)
    ids = [f"test{row:02d}" for row in range(9)]
    sample = pd.DataFrame({"id": ids} | dict.fromkeys(names, 0.0))
    sample.to_csv(data / "sample_submission.csv", index=False)
    path = tmp_path / "recipe.json"
    path.write_text(to_json(recipe_of(task, answer_columns=names)))
    truth = pd.DataFrame({"id": ids, "label": [sorted(names)[row % 3] for row in range(9)]})
    truth.to_csv(tmp_path / "answers.csv", index=False)
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    run("prepare", path, *common)
    for fold in range(2):
        run("train", *common, "--fold", fold)
    run("validate", *common)
    run("infer", *common, "--answers", tmp_path / "answers.csv")
    parts = [load_predictions(tmp_path / "run" / f"fold{fold}" / "test.safetensors").merged for fold in range(2)]
    mean, order = np.mean(parts, 0), [sorted(names).index(name) for name in names]
    found = pd.read_csv(tmp_path / "run" / "submission.csv")
    assert list(found) == ["id", *names]
    np.testing.assert_allclose(found[list(names)], mean[:, order], atol=1e-6)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["metric"] == "log_loss" and scores["lower_is_better"]
    expected = np.array([sorted(names).index(name) for name in truth["label"]])
    if task == "multiclass":
        assert scores["test"] == pytest.approx(log_loss(expected, mean / mean.sum(1, keepdims=True)), abs=1e-4)
        assert (np.abs(found[list(names)].sum(axis=1) - 1) < 1e-6).all()
    run("ensemble", path, "--data", data, "--run-dir", tmp_path / "both", "--members", tmp_path / "run")
    np.testing.assert_allclose(
        pd.read_csv(tmp_path / "both" / "submission.csv")[list(names)], mean[:, order], atol=1e-5
    )
    if task == "multilabel":  # classes are not that sure after two epochs
        run("pseudo", "--run-dir", tmp_path / "run", "--confidence", 0.5)
        pseudo = pd.read_csv(tmp_path / "run" / "pseudo.csv", keep_default_na=False)
        assert {label for cell in pseudo["label"] for label in cell.split()} <= set(names)
    run("infer", *common, "--images", data / "test" / "test00.png")
    assert "dog" in capsys.readouterr().out or task == "multilabel"


def test_one_column_is_the_probability_of_1_and_else_asks_of_which_label(tmp_path, capsys):
    data = make_pictures(tmp_path / "data", [name for name in ("0", "1") for _ in range(6)], num_test=4)
    path = tmp_path / "recipe.json"
    path.write_text(to_json(recipe_of("multiclass")))
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    run("prepare", path, *common)
    run("train", *common, "--fold", 0)
    run("validate", *common)
    run("infer", *common)
    mean = load_predictions(tmp_path / "run" / "fold0" / "test.safetensors").merged
    np.testing.assert_allclose(pd.read_csv(tmp_path / "run" / "submission.csv")["label"], mean[:, 1], atol=1e-6)
    cells = [name for name in ("no", "yes") for _ in range(6)]
    words = make_pictures(tmp_path / "words", cells, num_test=4, answer=0.5)
    line = refused(capsys, "prepare", path, "--data", words, "--run-dir", tmp_path / "other")
    assert "say of which label with --rule.positive, one of no, yes" in line
    run("prepare", path, "--data", words, "--run-dir", tmp_path / "other", "--rule.positive", "yes")


def test_one_column_of_three_classes_is_what_every_score_is_of(tmp_path):
    names = ("cat", "cow", "dog")
    data = make_pictures(tmp_path / "data", [name for name in names for _ in range(8)], num_test=9, answer=0.5)
    ids = [f"test{row:02d}" for row in range(9)]
    truth = pd.DataFrame({"id": ids, "label": [names[row % 3] for row in range(9)]})
    truth.to_csv(tmp_path / "answers.csv", index=False)
    recipe = replace(
        recipe_of("multiclass"),
        rule=RuleConfig(kind="probability", positive="cow"),
        score=ScoreConfig(metric="roc_auc"),
    )
    path = tmp_path / "recipe.json"
    path.write_text(to_json(recipe))
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    run("prepare", path, *common)
    run("train", *common, "--fold", 0)
    run("validate", *common)
    run("infer", *common, "--answers", tmp_path / "answers.csv")
    oof, test = (load_predictions(tmp_path / "run" / "fold0" / f"{name}.safetensors") for name in ("oof", "test"))
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["oof"] == pytest.approx(roc_auc_score(oof.targets == 1, oof.merged[:, 1]))
    journal = [json.loads(line) for line in (tmp_path / "run" / "fold0" / "journal.jsonl").read_text().splitlines()]
    followed = [line["score"] for line in journal if "score" in line]
    assert followed and followed[-1] == pytest.approx(scores["oof"])
    column = pd.read_csv(tmp_path / "run" / "submission.csv")["label"]
    np.testing.assert_allclose(column, test.merged[:, 1], atol=1e-6)
    assert scores["test"] == pytest.approx(roc_auc_score(truth["label"] == "cow", column))
    run("ensemble", path, "--data", data, "--run-dir", tmp_path / "both", "--members", tmp_path / "run")
    members = json.loads((tmp_path / "both" / "ensemble.json").read_text())["members"]
    assert members["run"]["oof"] == pytest.approx(scores["oof"])


def calibrated(task, **more):
    loss = "cross_entropy" if task == "multiclass" else "bce"
    return Recipe(
        table=TableFormat(task=task, label_column="label", answer_columns=more.pop("columns", ())),
        train=TrainConfig(loss=loss),
        rule=RuleConfig(kind="probability", calibrate="temperature", **more),
    )


def too_sure(task, seed=0, num_rows=300):
    """What a network says whose logits are thrice what they should be."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.2, (num_rows, 3))
    if task == "multilabel":
        return (1 / (1 + np.exp(-3 * logits))).astype(np.float32), (
            rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
        ).astype(np.uint8)
    true, said = (np.exp(factor * logits) / np.exp(factor * logits).sum(1, keepdims=True) for factor in (1, 3))
    return said.astype(np.float32), (rng.random((num_rows, 1)) > true.cumsum(1)).sum(1)


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
    by_column = np.mean([log_loss(truth[:, one], expected[:, one], labels=[0, 1]) for one in columns])
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
        with pytest.raises(MismatchError, match="holds values that no rule has"):
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


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_calibrated_answers_from_validation_to_an_ensemble_pseudo_labels_and_pictures(tmp_path, capsys, task):
    names = ("cat", "cow", "dog")
    data = make_pictures(tmp_path / "data", [name for name in names for _ in range(8)], num_test=9, answer=0.5)
    ids = [f"test{row:02d}" for row in range(9)]
    pd.DataFrame({"id": ids} | dict.fromkeys(names, 0.0)).to_csv(data / "sample_submission.csv", index=False)
    truth = pd.DataFrame({"id": ids, "label": [names[row % 3] for row in range(9)]})
    truth.to_csv(tmp_path / "answers.csv", index=False)
    path = tmp_path / "recipe.json"
    path.write_text(to_json(recipe_of(task, answer_columns=names)))
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    run("prepare", path, *common, "--rule.calibrate", "temperature")
    for fold in range(2):
        run("train", *common, "--fold", fold)
    capsys.readouterr()
    run("validate", *common)
    assert capsys.readouterr().out.count("calibrated: temperature ") == 1
    run("infer", *common, "--answers", tmp_path / "answers.csv")
    content = json.loads((tmp_path / "run" / "rule.json").read_text())
    rule = Probabilities.from_json({key: value for key, value in content.items() if key != "fitted"})
    assert rule != replace(rule, temperature=1.0, clip=0.0), "something was fitted"
    parts = [load_predictions(tmp_path / "run" / f"fold{fold}" / "test.safetensors").merged for fold in range(2)]
    expected = rule.apply(np.mean(parts, 0, dtype=np.float64).astype(np.float32))
    found = pd.read_csv(tmp_path / "run" / "submission.csv")[list(names)].to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-7)
    right = np.arange(9) % 3
    loss = log_loss(right, found) if task == "multiclass" else log_loss(np.eye(3)[right].ravel(), found.ravel())
    assert json.loads((tmp_path / "run" / "scores.json").read_text())["test"] == pytest.approx(loss, abs=1e-6)
    run("ensemble", path, "--data", data, "--run-dir", tmp_path / "both", "--members", tmp_path / "run", "--method",
        "geometric", "--rule.calibrate", "temperature")  # fmt: skip
    both = pd.read_csv(tmp_path / "both" / "submission.csv")[list(names)].to_numpy()
    assert task == "multilabel" or (np.abs(both.sum(1) - 1) < 1e-6).all()
    if task == "multilabel":  # classes are not that sure after two epochs
        sure = max(0.5, float(np.median([rule.confidence(part) for part in parts])))
        run("pseudo", "--run-dir", tmp_path / "run", "--confidence", sure)
    capsys.readouterr()
    run("infer", *common, "--images", data / "test" / "test00.png")
    shown = capsys.readouterr().out
    likeliest = int(expected[0].argmax())
    assert task == "multilabel" or f"{names[likeliest]} ({expected[0, likeliest]:.2f})" in shown


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


def test_a_pair_in_a_cell_from_the_table_to_the_test_score(tmp_path):
    names = ("3", "17", "8815")
    data = make_pictures(tmp_path / "data", [name for name in names for _ in range(8)], num_test=9)
    truth = pd.DataFrame({"id": [f"test{row:02d}" for row in range(9)], "label": [names[row % 3] for row in range(9)]})
    truth.to_csv(tmp_path / "answers.csv", index=False)
    recipe = replace(
        recipe_of("multiclass"), rule=RuleConfig(kind="probability", pairs=1), score=ScoreConfig(metric="gap")
    )
    path = tmp_path / "recipe.json"
    path.write_text(to_json(recipe))
    common = ["--data", data, "--run-dir", tmp_path / "run"]
    run("prepare", path, *common)
    run("train", *common, "--fold", 0)
    run("validate", *common)
    run("infer", *common, "--answers", tmp_path / "answers.csv")
    labels, merged = sorted(names), load_predictions(tmp_path / "run" / "fold0" / "test.safetensors").merged
    cells = pd.read_csv(tmp_path / "run" / "submission.csv")["label"].str.split(" ")
    assert cells.str[0].tolist() == [labels[place] for place in merged.argmax(1)]
    np.testing.assert_allclose(cells.str[1].astype(float), merged.max(1), atol=1e-6)
    order = np.argsort(-merged.max(1), kind="stable")
    right = (cells.str[0] == truth["label"]).to_numpy()[order]
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["test"] == pytest.approx(sum(right[:row].mean() for row in range(1, 10) if right[row - 1]) / 9)
    oof = load_predictions(tmp_path / "run" / "fold0" / "oof.safetensors")
    assert scores["title"] == "GAP" and scores["oof"] == pytest.approx(METRICS["gap"].bound("classes").score(
        oof.merged, oof.targets))  # fmt: skip
