"""The pasture recipe runs on tables of its real format, and is found again by `imettk new`."""

import json

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from sklearn.metrics import r2_score
from tiny import SMALL
from tiny import run as command

from imettk.inference.predictor import load_predictions
from imettk.recipes.csiro2025 import TARGETS, WEIGHTS, csiro2025
from imettk.starter.guess import guess
from imettk.starter.guess_columns import Choices
from imettk.starter.look import look_into
from imettk.synthetic.pastures import make_pastures


def test_csiro2025_runs_with_its_real_structure(tmp_path):
    """Long rows in and out, whole dates, a frozen beginning, sums that add up, and the competition's score."""
    make_pastures(tmp_path / "data", tmp_path / "answers.csv", num_train=48, num_test=12)
    common = ["--data", tmp_path / "data", "--run-dir", tmp_path / "run"]
    small = [*SMALL, "--images.image-size", 32, 64, "--model.layer-groups", 2, "--stages.0.frozen-groups", 1]
    small += ["--stages.0.num-epochs", 6, "--stages.0.accumulate", 1, "--stages.0.lr", 3e-3, "--train.ema-decay", 0.9]
    command("prepare", "csiro2025", *common, *small)
    folds = pd.read_csv(tmp_path / "run" / "folds.csv", dtype=str).set_index("id")["fold"]
    train = pd.read_csv(tmp_path / "data" / "train.csv")
    dates = train.groupby(train["sample_id"].str.partition("__")[0])["Sampling_Date"].first()
    assert len(folds) == 48 and (folds.groupby(dates.loc[folds.index]).nunique() == 1).all()
    for words in (["train"], ["validate"], ["infer", "--answers", tmp_path / "answers.csv"]):
        command(*words, *common)
    submission = pd.read_csv(tmp_path / "run" / "submission.csv")
    sample, truth = (pd.read_csv(path) for path in (tmp_path / "data/sample_submission.csv", tmp_path / "answers.csv"))
    assert submission["sample_id"].tolist() == sample["sample_id"].tolist() and list(submission) == list(sample)
    weights = truth["target_name"].map(dict(zip(TARGETS, map(float, WEIGHTS.split()), strict=True)))
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    expected = r2_score(truth["target"], submission["target"], sample_weight=weights)  # rows of one order
    assert scores["test"] == pytest.approx(expected, abs=1e-5)
    clover, dead, green, total, gdm = submission["target"].to_numpy().reshape(12, 5).T
    parts = [load_predictions(tmp_path / "run" / f"fold{fold}" / "test.safetensors") for fold in (0, 1)]
    assert all(part.values["labels"] == list(TARGETS) and len(part.probs) == 2 for part in parts)
    ranges = train.groupby("target_name")["target"].agg(["min", "max"])
    np.testing.assert_allclose(gdm, np.clip(clover + green, *ranges.loc["GDM_g"]), rtol=1e-5)
    np.testing.assert_allclose(total, np.clip(clover + green + dead, *ranges.loc["Dry_Total_g"]), rtol=1e-5)


def test_new_reads_the_same_format(tmp_path):
    make_pastures(tmp_path / "data", tmp_path / "answers.csv", num_train=24, num_test=1)
    found = guess(look_into(tmp_path / "data"), tmp_path / "data", Choices(group_column="Sampling_Date"))
    assert found.table == csiro2025().table


def test_all_but_two_blocks_of_its_network_stay_as_they_are():
    recipe = csiro2025()
    name = recipe.model.backbone.partition(":")[2]
    assert timm.is_model(name.partition(".")[0]) and name in timm.list_pretrained()
    with torch.device("meta"):
        depths = len(timm.create_model(name, num_classes=0).blocks)
    assert recipe.model.layer_groups == depths + 1 and recipe.stages[0].frozen_groups == depths - 1
