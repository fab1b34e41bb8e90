"""Human Protein Atlas 2018's recipes run on tables and images of its real format."""

import json

import numpy as np
import pandas as pd
import pytest
from tiny import SMALL
from tiny import run as command

from imettk.inference.predictor import load_predictions
from imettk.metrics.labels import focal_loss
from imettk.synthetic.cells import make_cells

pytestmark = pytest.mark.usefixtures("no_charts_here")


@pytest.mark.slow
def test_hpa2018_runs_with_its_real_structure(tmp_path, capsys):
    """Four files an image, an external table with antibodies, duplicates, the wide head, crops, the choice by focal
    loss, shares."""
    make_cells(tmp_path / "data", tmp_path / "answers.csv", num_train=80, num_external=24, num_test=16, side=64)
    common = ["--data", tmp_path / "data", "--run-dir", tmp_path / "run"]
    small = [*SMALL, "--images.image-size", 48, 48, "--images.load-size", 64, 64, "--model.hidden", 32]
    small += ["--stages.0.num-epochs", 3, "--stages.0.batch-size", 16]
    small += ["--stages.0.step-epochs", 1, "--stages.0.step-lrs", 0.5]
    command("duplicates", "hpa2018", *common, *small, "--each-channel", "--action", "group")
    assert "train and external" in capsys.readouterr().out
    command("prepare", "hpa2018", *common, *small)
    folds = pd.read_csv(tmp_path / "run" / "folds.csv").set_index("id")["fold"]
    external = folds[folds.index.str.startswith("ENSG")]
    assert set(external) == {0, 1}  # they are dealt as well, and by antibody
    assert (external.groupby(external.index.str.split("_").str[1]).nunique() == 1).all()
    groups = pd.read_csv(tmp_path / "run" / "duplicate_groups.csv").set_index("id")["group"]
    assert (folds.groupby(groups.reindex(folds.index)).nunique() == 1).all() and groups.duplicated().any()
    command("train", *common)
    events = [json.loads(line) for line in (tmp_path / "run" / "fold0" / "journal.jsonl").read_text().splitlines()]
    focal = [event["focal"] for event in events if "focal" in event]
    assert len(focal) == 3
    command("validate", *common)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["title"] == "macro F1"
    parts = [load_predictions(tmp_path / "run" / f"fold{fold}" / "oof.safetensors") for fold in (0, 1)]
    assert parts[0].probs.shape[0] == 4  # the four crops, of which the largest counts
    np.testing.assert_array_equal(parts[0].merged, parts[0].probs.max(0))
    # The kept weights are those of the lowest focal loss (validation sees the centre, predictions the crops).
    whole = [focal_loss(part.merged, part.targets) for part in parts]
    assert min(focal) == pytest.approx(whole[0], rel=0.5)
    text = capsys.readouterr().out
    assert "labels more or less than their shares" in text and "with fewer or more rows of a rare label" in text
    command("infer", *common, "--answers", tmp_path / "answers.csv")
    submission = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str)
    assert list(submission.columns) == ["Id", "Predicted"] and (submission["Predicted"] != "").all()
    counts = submission["Predicted"].str.split().explode().value_counts().reindex(map(str, parts[0].values["labels"]))
    shares = np.array(json.loads((tmp_path / "run" / "rule.json").read_text())["shares"])
    off = counts.fillna(0).to_numpy(int) - np.floor(16 * shares + 0.5).astype(int)
    assert f"answers hold {np.abs(off).sum()} labels more or less than their shares ({off.sum():+d} in all)" in (
        capsys.readouterr().out
    )
    _replace_labels_by_neighbours(tmp_path, common, capsys)


def _replace_labels_by_neighbours(tmp_path, common, capsys):
    """Run the metric-learning half: antibodies from external names, whose neighbours correct the classifier."""
    metric = ["--data", tmp_path / "data", "--run-dir", tmp_path / "metric"]
    small = [*SMALL, "--images.image-size", 48, 48, "--images.load-size", 64, 64, "--model.hidden", 16]
    small += ["--model.embedding-size", 16, "--stages.0.num-epochs", 2, "--stages.0.batch-size", 8]
    command("prepare", "hpa2018-metric", *metric, *small, "--folds.hold-out-from", 2, "--folds.hold-out-share", 0.5)
    command("train", *metric)
    command("validate", *metric)
    assert "MAP@1" in capsys.readouterr().out
    command("infer", *metric)
    both = tmp_path / "both"
    command(
        "neighbours", "--data", tmp_path / "data", "--run-dir", both, "--classifier", common[3], "--features", metric[3]
    )
    scanned = pd.read_csv(both / "neighbours.csv")
    assert scanned["threshold"].iloc[0] == np.inf and scanned["replaced"].iloc[0] == 0 and len(scanned) == 22
    oof = json.loads((common[3] / "scores.json").read_text())["oof"]
    assert scanned["score"].iloc[0] == pytest.approx(oof, abs=1e-5)
    text = capsys.readouterr().out
    assert "with thresholds of the other folds" in text and "of them those of a neighbour" in text
    assert (both / "label_conflicts.csv").is_file()
    submission = pd.read_csv(both / "submission.csv", dtype=str)
    assert (submission["Predicted"] != "").all() and len(submission) == 16
