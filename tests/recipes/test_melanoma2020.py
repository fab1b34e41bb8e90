"""The melanoma recipe runs on tables of its real format, and answers with one diagnosis of nine."""

import json

import numpy as np
import pandas as pd
import pretrainedmodels
import pytest
import timm
from sklearn.metrics import roc_auc_score
from tiny import SMALL
from tiny import run as command

from imettk.inference.predictor import load_predictions
from imettk.recipes.melanoma2020 import MODELS
from imettk.synthetic.lesions import LESIONS, POSITIVE, make_lesions


def test_melanoma2020_runs_with_its_real_structure(tmp_path):
    """Patients stay whole, earlier years validate too, eight views, and only the column of melanoma is submitted."""
    make_lesions(tmp_path / "data", tmp_path / "answers.csv", num_train=80, num_external=40, num_test=24, side=64)
    common = ["--data", tmp_path / "data", "--run-dir", tmp_path / "run"]
    small = [*SMALL, "--images.image-size", 48, 48, "--images.load-size", 64, 64]
    small += ["--stages.0.num-epochs", 2, "--stages.0.batch-size", 16]
    command("prepare", "melanoma2020", *common, *small)
    folds = pd.read_csv(tmp_path / "run" / "folds.csv", dtype=str).set_index("id")["fold"]
    train, before = (pd.read_csv(tmp_path / "data" / f"{name}.csv") for name in ("train", "isic2019"))
    assert set(folds) == {"0", "1"} and set(folds.loc[before["image_name"]]) == {"0", "1"}
    assert (train.assign(fold=folds.loc[train["image_name"]].values).groupby("patient_id")["fold"].nunique() == 1).all()
    command("train", *common)
    command("validate", *common)
    command("infer", *common)
    names = sorted(LESIONS)
    truth = pd.concat([train, before]).set_index("image_name")["diagnosis"]
    parts = [load_predictions(tmp_path / "run" / f"fold{fold}" / "oof.safetensors") for fold in (0, 1)]
    assert all(part.values["labels"] == names and len(part.probs) == 8 for part in parts)
    probs = pd.concat([pd.DataFrame(part.merged, part.ids, names) for part in parts])
    area = roc_auc_score(truth.loc[probs.index] == POSITIVE, probs[POSITIVE])
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["metric"] == "roc_auc" and scores["oof"] == pytest.approx(area, abs=1e-6)
    tests = [load_predictions(tmp_path / "run" / f"fold{fold}" / "test.safetensors") for fold in (0, 1)]
    melanoma = np.mean([part.merged[:, names.index(POSITIVE)] for part in tests], axis=0)
    submission = pd.read_csv(tmp_path / "run" / "submission.csv")
    assert list(submission.columns) == ["image_name", "target"] and submission["image_name"].tolist() == list(
        tests[0].ids
    )
    np.testing.assert_allclose(submission["target"], melanoma, rtol=1e-5)


def test_its_backbones_are_networks_of_their_libraries():
    for name, side, load_side, _ in MODELS:
        library, _, model = name.partition(":")
        assert timm.is_model(model) if library == "timm" else model in pretrainedmodels.model_names
        assert side <= load_side
