"""Probabilities as answers through all commands: a submission holds the network's own numbers."""

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
from imettk.inference.predictor import load_predictions
from imettk.metrics import METRICS
from imettk.postprocess.probabilities import Probabilities


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
    submission = pd.read_csv(tmp_path / "run" / "submission.csv")
    assert list(submission) == ["id", *names]
    np.testing.assert_allclose(submission[list(names)], mean[:, order], atol=1e-6)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["metric"] == "log_loss" and scores["lower_is_better"]
    expected = np.array([sorted(names).index(name) for name in truth["label"]])
    if task == "multiclass":
        assert scores["test"] == pytest.approx(log_loss(expected, mean / mean.sum(1, keepdims=True)), abs=1e-4)
        assert (np.abs(submission[list(names)].sum(axis=1) - 1) < 1e-6).all()
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
    assert "set --rule.positive to its label, one of no, yes" in line
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
    submitted = pd.read_csv(tmp_path / "run" / "submission.csv")[list(names)].to_numpy()
    np.testing.assert_allclose(submitted, expected, atol=1e-7)
    right = np.arange(9) % 3
    loss = log_loss(right, submitted) if task == "multiclass" else log_loss(np.eye(3)[right].ravel(), submitted.ravel())
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
