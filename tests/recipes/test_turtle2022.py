"""The turtle recipe runs on tables of its real format, on backbones that timm has."""

import json

import numpy as np
import pandas as pd
import pytest
import timm
from tiny import SMALL
from tiny import run as command

from imettk.inference.predictor import load_predictions
from imettk.recipes.turtle2022 import BACKBONES
from imettk.synthetic.turtles import make_turtles

pytestmark = pytest.mark.usefixtures("no_charts_here")


def test_turtle2022_runs_with_its_real_structure(tmp_path, capsys):
    """Two tables of turtles, one of them scored; five columns; scores over all turtles, and over those and the new
    one."""
    make_turtles(tmp_path / "data", tmp_path / "answers.csv")
    common = ["--data", tmp_path / "data", "--run-dir", tmp_path / "run"]
    small = [*SMALL, "--images.image-size", 48, 48, "--stages.0.num-epochs", 2, "--stages.0.accumulate", 1]
    command("prepare", "turtle2022", *common, *small, "--predict.views", "plain", "hflip", "rot45")
    command("train", *common)
    command("validate", *common)
    command("infer", *common, "--answers", tmp_path / "answers.csv")
    train, extra = (pd.read_csv(tmp_path / "data" / csv, dtype=str) for csv in ("train.csv", "extra_images.csv"))
    scored, labels = sorted(train["turtle_id"].unique()), sorted({*train["turtle_id"], *extra["turtle_id"]})
    # Recomputed from the prediction files, turtle by turtle.
    truth = pd.concat([train, extra]).set_index("image_id")["turtle_id"]
    points: dict[str, list[float]] = {"oof": [], "all_identities": []}
    for fold in (0, 1):
        part = load_predictions(tmp_path / "run" / f"fold{fold}" / "oof.safetensors")
        assert part.probs.shape[0] == 3 and part.values["labels"] == labels
        for name, probs in zip(part.ids.tolist(), part.merged, strict=True):
            ranked = [labels[place] for place in np.argsort(-probs, kind="stable")]
            mapped = list(dict.fromkeys(label if label in scored else "new_turtle" for label in ranked))[:5]
            right = truth[name] if truth[name] in scored else "new_turtle"
            points["oof"].append(1 / (mapped.index(right) + 1) if right in mapped else 0)
            points["all_identities"].append(1 / (ranked.index(truth[name]) + 1) if truth[name] in ranked[:5] else 0)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    for name, values in points.items():
        assert scores[name] == pytest.approx(np.mean(values)), name
    assert f"{len(scored)} identities that are scored, and new_turtle" in capsys.readouterr().out
    submission = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str)
    assert list(submission.columns) == ["image_id", *(f"prediction{place}" for place in range(1, 6))]
    answered = set(submission.drop(columns="image_id").to_numpy().ravel())
    assert answered <= {*scored, "new_turtle"}


def test_the_turtle_systems_backbones_are_networks_of_timm():
    assert all(timm.is_model(name.removeprefix("timm:")) for name in BACKBONES)
