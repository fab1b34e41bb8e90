"""How a recipe is found by what a user types; and the competitions' recipes run, each in its real file format."""

import json

import numpy as np
import pandas as pd
import pytest

from imettk.cli import main
from imettk.config import fingerprint, to_json
from imettk.data.made_artworks import make_artworks
from imettk.data.made_cells import make_cells
from imettk.errors import ConfigError, MissingFileError
from imettk.inference.predictor import load_predictions
from imettk.metrics import focal_loss
from imettk.recipes import RECIPES, load_recipe

SOURCE = "from imettk.config import Recipe\n\ndef recipe():\n    return Recipe(name='mine')\n"


def test_built_in_python_and_json(tmp_path):
    assert load_recipe("digits") == RECIPES["digits"]()
    (tmp_path / "mine.py").write_text(SOURCE)
    mine = load_recipe(str(tmp_path / "mine.py"))
    assert mine.name == "mine" and len(mine.source_sha256) == 64
    (tmp_path / "saved.json").write_text(to_json(mine))
    assert load_recipe(str(tmp_path / "saved.json")) == mine


def test_the_text_of_a_users_recipe_is_part_of_the_fingerprint(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    before = fingerprint(load_recipe(str(path)))
    path.write_text(SOURCE + "# another thought\n")
    assert fingerprint(load_recipe(str(path))) != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has no function recipe()"),
        ("def recipe():\n    return 3", "must return a Recipe, got int"),
        ("def recipe(:", "SyntaxError"),
        ("import no_such_package", "ModuleNotFoundError"),
        (
            "from imettk.config import Recipe\ndef recipe():\n    return Recipe(nmae='x')",
            "unexpected keyword argument 'nmae'",
        ),
        ("from imettk.config import *\ndef recipe():\n    return Recipe(train=TrainPlan(seed='x'))", "train.seed"),
    ],
)
def test_a_bad_python_recipe(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(tmp_path / "mine.py"))
    assert message in str(caught.value)


def test_no_recipe(tmp_path):
    with pytest.raises(ConfigError, match="'digitz' is no recipe: give digits"):
        load_recipe("digitz")
    with pytest.raises(ConfigError, match="missing"):
        load_recipe(str(tmp_path / "absent.py"))
    with pytest.raises(MissingFileError):
        load_recipe(str(tmp_path / "absent.json"))


def command(*words):
    main([str(word) for word in words])


SMALL = ["--folds.num-folds", 2, "--model.backbone", "timm:test_resnet", "--session.num-workers", 0]


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
    assert scores["metric"] == "macro F1"
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
