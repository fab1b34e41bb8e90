"""The plant recipe runs on tables of its real format, twice: the second time with the first one as its teacher."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from tiny import SMALL
from tiny import run as command

from imettk.inference.predictor import load_predictions
from imettk.synthetic.leaves import SHARES, make_leaves

pytestmark = pytest.mark.usefixtures("no_charts_here")

NAMES = list(SHARES)


def test_plant2020_runs_with_its_real_structure(tmp_path):
    """Columns of 0 and 1, three cycles, four views, a column per class, and both trainings averaged."""
    make_leaves(tmp_path / "data", tmp_path / "answers.csv", num_train=64, num_test=16)
    small = [*SMALL, "--images.image-size", 32, 48]
    for stage in range(3):
        small += [f"--stages.{stage}.num-epochs", 1, f"--stages.{stage}.batch-size", 16]
    teacher = [tmp_path / "first" / f"fold{fold}" / "oof.safetensors" for fold in (0, 1)]
    for name, more in (("first", []), ("second", ["--train.teacher", *teacher])):
        common = ["--data", tmp_path / "data", "--run-dir", tmp_path / name]
        command("prepare", "plant2020", *common, *small, *more)
        command("train", *common)
        command("validate", *common)
        command("infer", *common, "--answers", tmp_path / "answers.csv")
        truth = pd.read_csv(tmp_path / "data" / "train.csv").set_index("image_id")
        parts = [load_predictions(tmp_path / name / f"fold{fold}" / "oof.safetensors") for fold in (0, 1)]
        assert all(part.values["labels"] == NAMES and len(part.probs) == 4 for part in parts)
        probs = pd.concat([pd.DataFrame(part.merged, part.ids, NAMES) for part in parts]).loc[truth.index]
        scores = json.loads((tmp_path / name / "scores.json").read_text())
        assert scores["metric"] == "roc_auc"
        assert scores["oof"] == pytest.approx(roc_auc_score(truth[NAMES], probs[NAMES], average="macro"), abs=1e-6)
    both = tmp_path / "both"
    command(
        "ensemble", "--data", tmp_path / "data", "--run-dir", both,
        "--members", tmp_path / "first", tmp_path / "second", "--method", "mean",
    )  # fmt: skip
    first, second, mean = (
        pd.read_csv(tmp_path / name / "submission.csv", index_col="image_id") for name in ("first", "second", "both")
    )
    assert list(mean.columns) == NAMES and not np.allclose(first, second, atol=1e-4)
    np.testing.assert_allclose(mean, (first + second) / 2, atol=1e-6)
    np.testing.assert_allclose(mean.sum(axis=1), 1, atol=1e-6)
