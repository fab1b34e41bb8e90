"""The retina recipe runs on tables of its real format, a second round with the first one's models as teachers too."""

import json

import numpy as np
import pandas as pd
import pretrainedmodels
from sklearn.metrics import cohen_kappa_score
from tiny import SMALL
from tiny import run as command

from imettk.config import RuleConfig
from imettk.inference.predictor import load_predictions
from imettk.recipes import load_recipe
from imettk.recipes.aptos2019 import MODELS
from imettk.synthetic.retinas import make_retinas

WORDS = [*SMALL, "--images.image-size", 48, 48, "--stages.0.num-epochs", 8, "--stages.0.batch-size", 16]
WORDS += ["--stages.0.lr", 3e-3]


def test_aptos2019_runs_with_its_real_structure(tmp_path):
    """Both years are learned and one validates, numbers become grades, and a second round learns from soft labels."""
    make_retinas(tmp_path / "data", tmp_path / "answers.csv", num_train=80, num_external=40, num_test=24, side=48)
    common = ["--data", tmp_path / "data"]
    first, second = tmp_path / "first", tmp_path / "second"
    command("prepare", "aptos2019", *common, "--run-dir", first, *WORDS)
    folds = pd.read_csv(first / "folds.csv", dtype=str).set_index("id")["fold"]
    train, before = (
        pd.read_csv(tmp_path / "data" / f"{name}.csv").set_index("id_code") for name in ("train", "drd2015")
    )
    assert set(folds.loc[train.index]) == {"0", "1"} and set(folds.loc[before.index]) == {"-1"}
    for stage in ("train", "validate"):
        command(stage, *common, "--run-dir", first)
    command("infer", *common, "--run-dir", first, "--answers", tmp_path / "answers.csv")
    parts = [load_predictions(first / f"fold{fold}" / "oof.safetensors") for fold in (0, 1)]
    numbers = pd.concat([pd.Series(part.merged[:, 0], part.ids) for part in parts])
    rule, scores = (json.loads((first / f"{name}.json").read_text()) for name in ("rule", "scores"))
    grades = np.searchsorted(rule["cuts"], numbers, side="right")  # by cuts of all rows, which are the best for them
    best = cohen_kappa_score(train.loc[numbers.index, "diagnosis"], grades, weights="quadratic")
    assert scores["metric"] == "quadratic_kappa" and 0.3 < scores["oof"] <= best and rule["grades"] == [0, 1, 2, 3, 4]
    answers = pd.read_csv(first / "submission.csv")
    assert set(answers["diagnosis"]) <= set(range(5)) and "confusion" in json.loads((first / "curves.json").read_text())
    command("pseudo", "--run-dir", first, *common, "--confidence", 0.52)
    teacher = ["--train.teacher", *(first / f"fold{fold}" / "oof.safetensors" for fold in (0, 1))]
    more = ["--pseudo", first, "--stages.0.num-epochs", 2, *teacher]
    command("prepare", "aptos2019", *common, "--run-dir", second, *WORDS, *more)
    command("train", *common, "--run-dir", second, "--fold", 0)
    command("validate", *common, "--run-dir", second, "--fold", 0)
    assert (
        len(pd.read_csv(second / "folds.csv")) > len(folds) and json.loads((second / "scores.json").read_text())["oof"]
    )


def test_its_backbones_are_networks_of_their_library():
    for name, side in MODELS:
        library, _, model = name.partition(":")
        assert library == "pretrainedmodels" and model in pretrainedmodels.model_names and side in (384, 512)


def test_new_takes_its_rule_over_to_other_grades(tmp_path, monkeypatch):
    """The table of the other year is left out."""
    monkeypatch.chdir(tmp_path)
    make_retinas(tmp_path / "data", tmp_path / "answers.csv", num_train=20, num_external=5, num_test=5, side=32)
    command(
        "new",
        "mine",
        "--data",
        "data",
        "--like",
        "aptos2019",
        "--metric",
        "quadratic_kappa",
        "--train-csv",
        "train.csv",
    )
    recipe = load_recipe("mine.py")
    assert (recipe.table.task, recipe.table.extra, recipe.rule) == ("regression", (), RuleConfig(kind="cutpoints"))
