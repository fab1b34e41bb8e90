"""iMet 2019's recipes run on tables and images of its real format."""

import json

import pandas as pd
import pytest
from tiny import SMALL
from tiny import run as command

from imettk.recipes import RECIPES
from imettk.synthetic.artworks import make_artworks


@pytest.mark.parametrize("name", ["imet2019", "imet2019-freezing"])
def test_imet2019_runs_with_its_real_structure(tmp_path, capsys, name):
    """Formats, two label groups, both stages, marginal crops, MixUp, hard examples, two views, limits of the rule."""
    make_artworks(tmp_path / "data", tmp_path / "answers.csv", num_train=96, num_test=24)
    common = ["--data", tmp_path / "data", "--run-dir", tmp_path / "run"]
    small = [*SMALL, "--images.image-size", 48, 48]
    for stage in range(len(RECIPES[name]().stages)):
        small += [f"--stages.{stage}.batch-size", 16, f"--stages.{stage}.num-epochs", 1 + stage]
        small += [f"--stages.{stage}.warmup-epochs", 0.25]
    command("prepare", name, *common, *small)
    capsys.readouterr()
    command("train", *common, "--dry-run")
    plan = capsys.readouterr().out
    assert "triangular  1e-05 8e-05 0.0005" in plan if name == "imet2019" else "cosine" in plan
    command("train", *common)
    command("validate", *common)
    command("infer", *common, "--answers", tmp_path / "answers.csv")
    text = capsys.readouterr().out
    assert "OOF      F2" in text and "test     F2" in text and "24 answers, mean of 2 folds" in text
    cells = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str)["attribute_ids"].str.split()
    assert cells.str.len().between(1, 10).all()
    rule = json.loads((tmp_path / "run" / "rule.json").read_text())
    assert len(set(rule["thresholds"][:8])) == 1 == len(set(rule["thresholds"][8:]))
