"""The pet recipe runs on tables of its real format, with numbers learned as if they were probabilities."""

import json

import numpy as np
import pandas as pd
import pytest
import timm
from sklearn.metrics import root_mean_squared_error
from tiny import SMALL
from tiny import run as command

from imettk.inference.predictor import load_predictions
from imettk.recipes.pawpularity2021 import MODELS
from imettk.synthetic.pets import make_pets
from imettk.tracking.tensors import read_values

pytestmark = pytest.mark.usefixtures("no_charts_here")


def test_pawpularity2021_runs_with_its_real_structure(tmp_path):
    """Squares of photos, half of the batches mixed, shares of the training rows' range, two views, answers in range."""
    make_pets(tmp_path / "data", tmp_path / "answers.csv", num_train=96, num_test=16)
    common = ["--data", tmp_path / "data", "--run-dir", tmp_path / "run"]
    small = [*SMALL, "--images.image-size", 48, 48, "--images.load-size", 56, 56, "--stages.0.num-epochs", 10]
    command("prepare", "pawpularity2021", *common, *small, "--stages.0.batch-size", 16, "--stages.0.lr", 3e-3)
    command("train", *common)
    command("validate", *common)
    command("infer", *common, "--answers", tmp_path / "answers.csv")
    folds = pd.read_csv(tmp_path / "run" / "folds.csv").set_index("id")["fold"]
    truth = pd.read_csv(tmp_path / "data" / "train.csv").set_index("Id")["Pawpularity"]
    parts = [load_predictions(tmp_path / "run" / f"fold{fold}" / "oof.safetensors") for fold in (0, 1)]
    assert all(len(part.probs) == 2 for part in parts)
    answers = []
    for fold, part in enumerate(parts):
        scale = read_values(tmp_path / "run" / f"fold{fold}" / "model.safetensors")["scale"]
        rows = truth[folds.loc[truth.index] != fold]
        assert scale["kind"] == "range" and scale["shift"] == [rows.min()]
        assert scale["spread"] == [rows.max() - rows.min()]
        answers.append(pd.Series(np.clip(part.merged[:, 0], rows.min(), rows.max()), part.ids))
    numbers = pd.concat(answers)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["metric"] == "rmse" and scores["oof"] < 0.95 * scores["constant"]
    assert scores["oof"] == pytest.approx(root_mean_squared_error(truth.loc[numbers.index], numbers), rel=1e-4)
    submission = pd.read_csv(tmp_path / "run" / "submission.csv")
    assert list(submission) == ["Id", "Pawpularity"] and submission["Pawpularity"].between(1, 100).all()


def test_its_backbones_are_networks_of_timm_that_take_these_sides():
    for name, side, load_side in MODELS:
        library, _, model = name.partition(":")
        assert library == "timm" and model in timm.list_models(pretrained=True) and 224 <= side < load_side
