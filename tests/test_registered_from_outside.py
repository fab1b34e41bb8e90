"""A task, a metric, a loss and a rule that the package does not know, registered as rows: all commands work with them.

Grades 0 to 3, learned as three questions (above 0? above 1? above 2?): targets and outputs are fewer than labels, of
which no code in the package can have thought.
"""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from pictures import make_pictures
from sklearn.metrics import cohen_kappa_score, confusion_matrix
from tiny import run

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    PredictConfig,
    Recipe,
    RuleConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    choices,
    to_json,
)
from imettk.inference.predictor import load_predictions
from imettk.losses.bce import bce
from imettk.metrics import METRICS, Metric
from imettk.postprocess.rule import Rule
from imettk.tasks import TASKS, Task

GRADES = ("0", "1", "2", "3")


class Grades(Task):
    """Return targets uint8 (N, 3): 1 if the grade is above 0, 1 and 2."""

    targets, loss, rule, stratifier = "grades", "above", "cut", "classes"
    exclusive = True
    reported: ClassVar = {}

    def make_targets(self, cells, column, num_labels):
        grades = np.array([column[cell[0]] for cell in cells])
        return (grades[:, None] > np.arange(num_labels - 1)).astype(np.uint8)

    def num_outputs(self, num_labels):
        return num_labels - 1

    def activate(self, logits):
        return logits.sigmoid()

    def soften(self, targets, num_outputs):
        return targets.float()

    def soft_answers(self, answers, num_outputs):
        return answers.astype(np.float32)

    def smooth(self, targets, share):
        return targets * (1 - share) + share / 2

    def strata(self, targets):
        return targets.sum(1).astype(np.int64)

    def label_matrix(self, values, num_labels):
        return np.arange(num_labels) == values.sum(1)[:, None]

    def labels_of(self, value):
        return np.array([int(value.sum())])

    def label_probs(self, probs):
        above = np.minimum.accumulate(probs, 1)
        return -np.diff(np.column_stack([np.ones(len(probs)), above, np.zeros(len(probs))]), axis=1)

    def chances(self, targets):
        grades = self.strata(targets)
        return 1 / np.bincount(grades)[grades]

    def agreement(self, first, second):
        return 1 - np.abs(first.sum(2)[:, :, None] - second.sum(2)[:, None, :].astype(float)) / 3

    def row_losses(self, probs, targets):
        return np.abs(probs - targets).sum(1).astype(np.float64)


@dataclass(frozen=True)
class Cut(Rule):
    """Answer yes from this probability on, as long as the question before is answered yes."""

    kind: ClassVar[str] = "cut"
    cut: float = 0.5

    @classmethod
    def fit(cls, probs, targets, context):
        return max(
            (cls(float(cut)) for cut in np.arange(0.1, 1, 0.1)), key=lambda rule: kappa(rule.apply(probs), targets)
        )

    def apply(self, probs):
        return np.minimum.accumulate(probs >= self.cut, 1).astype(np.uint8)

    def confidence(self, probs):
        return 0.5 + np.abs(probs - self.cut).min(1) / 2


def kappa(answers, targets):
    value = cohen_kappa_score(answers.sum(1), targets.sum(1), labels=range(4), weights="quadratic")
    return 0.0 if np.isnan(value) else value  # all of one grade, and right


def above(logits, targets):
    return bce(logits, targets)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(TASKS, "grades", Grades())
    monkeypatch.setitem(METRICS, "kappa", Metric("answers", ("grades",), kappa, lambda params: "kappa", low=-1, high=1))
    monkeypatch.setitem(choices.LOSSES, "above", choices.Loss(make=above, targets=("grades",)))
    row = choices.RuleChoice(make=Cut, targets=("grades",), metric="kappa", gives=("answers", "probs"))
    monkeypatch.setitem(choices.RULES, "cut", row)


def recipe_of() -> Recipe:
    return Recipe(
        table=TableFormat(task="grades", label_column="label"),
        folds=FoldConfig(num_folds=2),
        images=ImageFormat(image_size=(32, 32)),
        model=ModelConfig(backbone="timm:test_resnet"),
        train=TrainConfig(loss="above", watch="score", keep="best"),
        stages=(
            StageConfig(num_epochs=6, batch_size=8, lr=(3e-3,), sampler="balanced", mixup=0.2, label_smoothing=0.01),
        ),
        predict=PredictConfig(views=("plain", "hflip")),
        rule=RuleConfig(kind="cut"),
        session=SessionConfig(num_workers=0, tensorboard=False),
    )


@pytest.mark.usefixtures("registered")
def test_from_the_table_to_an_ensemble_and_pseudo_labels(tmp_path, capsys):
    data = make_pictures(tmp_path / "data", [grade for grade in GRADES for _ in range(8)], num_test=12)
    path = tmp_path / "recipe.json"
    path.write_text(to_json(recipe_of()))
    truth = pd.DataFrame(
        {"id": [f"test{row:02d}" for row in range(12)], "label": [GRADES[row % 4] for row in range(12)]}
    )
    truth.to_csv(tmp_path / "answers.csv", index=False)
    for name in ("one", "two"):
        common = ["--data", data, "--run-dir", tmp_path / name]
        run("prepare", path, *common, "--train.seed", 1 if name == "two" else 0)
        for fold in range(2):
            run("train", *common, "--fold", fold)
        run("validate", *common)
        run("infer", *common, "--answers", tmp_path / "answers.csv")
    folder = tmp_path / "two"
    scores = json.loads((folder / "scores.json").read_text())
    parts = [load_predictions(folder / f"fold{fold}" / "oof.safetensors") for fold in range(2)]
    assert parts[0].probs.shape == (2, 16, 3) and scores["metric"] == "kappa"
    by_others = [Cut.fit(parts[1 - fold].merged, parts[1 - fold].targets, None) for fold in range(2)]
    honest = [rule.apply(part.merged) for rule, part in zip(by_others, parts, strict=True)]
    assert scores["oof"] == kappa(np.concatenate(honest), np.concatenate([part.targets for part in parts]))
    rule = json.loads((folder / "rule.json").read_text())
    assert rule["kind"] == "cut" and 0 < rule["cut"] < 1
    answers = pd.read_csv(folder / "submission.csv", dtype=str)
    mean = np.mean([load_predictions(folder / f"fold{fold}" / "test.safetensors").merged for fold in range(2)], 0)
    expected = np.minimum.accumulate(mean.astype(np.float32) >= rule["cut"], 1).sum(1)
    assert answers["label"].tolist() == [str(grade) for grade in expected]
    assert scores["test"] == pytest.approx(
        cohen_kappa_score(expected, np.arange(12) % 4, labels=range(4), weights="quadratic")
    )
    table = pd.read_csv(folder / "label_scores.csv", dtype={"label": str})
    assert table["label"].tolist() == list(GRADES) and table["true"].tolist() == [8] * 4
    page, curves = (folder / "report.html").read_text(), json.loads((folder / "curves.json").read_text())
    truth_of_rows, answered = (np.concatenate(rows).sum(1) for rows in ([part.targets for part in parts], honest))
    assert curves["confusion"]["counts"] == confusion_matrix(truth_of_rows, answered, labels=range(4)).tolist()
    assert curves["probabilities"]["labels"] == 4 and curves["calibration"]["unit"] == "rows"
    assert "kappa" in page and "Confusion matrix" in page and "ROC curves of 4 labels" in page

    run("ensemble", path, "--data", data, "--run-dir", tmp_path / "both", "--method", "weighted",
        "--members", tmp_path / "one", tmp_path / "two")  # fmt: skip
    both = json.loads((tmp_path / "both" / "scores.json").read_text())
    assert "confusion" in json.loads((tmp_path / "both" / "curves.json").read_text())
    assert both["metric"] == "kappa" and (tmp_path / "both" / "submission.csv").is_file()

    run("pseudo", "--run-dir", folder, "--confidence", 0.501)
    pseudo = pd.read_csv(folder / "pseudo.csv", dtype=str)
    assert set(pseudo["label"]) <= set(GRADES) and len(pseudo)
    student = ["--data", data, "--run-dir", tmp_path / "student"]
    run("prepare", path, *student, "--pseudo", folder)
    run("train", *student, "--fold", 0)
    run("validate", *student)
    capsys.readouterr()
    run("infer", *student, "--images", data / "test" / "test00.png")
    assert capsys.readouterr().out.splitlines()[-1].startswith("test00.png: ")
