"""How a recipe is found by what a user types; and the competitions' recipes run, each in its real file format."""

import json

import numpy as np
import pandas as pd
import pytest
import timm

from imettk.cli.main import main
from imettk.config import fingerprint, to_json
from imettk.errors import ConfigError, MissingFileError
from imettk.inference.predictor import load_predictions
from imettk.metrics.labels import focal_loss
from imettk.recipes import RECIPES, load_recipe
from imettk.recipes.turtle2022 import BACKBONES
from imettk.synthetic.artworks import make_artworks
from imettk.synthetic.cells import make_cells
from imettk.synthetic.turtles import make_turtles
from imettk.synthetic.whales import make_whale_folders

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
    counts = submission["Predicted"].str.split().explode().value_counts().reindex(map(str, parts[0].values["labels"]))
    shares = np.array(json.loads((tmp_path / "run" / "rule.json").read_text())["shares"])
    off = counts.fillna(0).to_numpy(int) - np.floor(16 * shares + 0.5).astype(int)
    assert f"answers hold {np.abs(off).sum()} labels more or less than their shares ({off.sum():+d} in all)" in (
        capsys.readouterr().out
    )
    _replace_labels_by_neighbours(tmp_path, common, capsys)


def _replace_labels_by_neighbours(tmp_path, common, capsys):
    """The metric half: antibodies from the external images' names, and what its neighbours say of the classifier."""
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


EMBEDDING = ["--model.embedding-size", 16, "--stages.0.num-epochs", 2, "--stages.0.batch-size", 16]


@pytest.mark.parametrize("name", ["gdsc2020", "gdsc2020-triplet"])
def test_gdsc2020_runs_with_its_real_structure(tmp_path, capsys, name):
    """Folders a whale, one for unknown ones, boxes as shares, PK batches; the 20 nearest images, never the own one."""
    make_whale_folders(tmp_path / "data", tmp_path / "answers.csv")
    common = ["--data", tmp_path / "data", "--run-dir", tmp_path / "run"]
    small = [*SMALL, *EMBEDDING, "--images.image-size", 48, 48, "--stages.0.accumulate", 1]
    command("prepare", name, *common, *small, "--stages.0.warmup-epochs", 0.5)
    folds = pd.read_csv(tmp_path / "run" / "folds.csv").set_index("id")["fold"]
    whales = pd.Series({one: one.split("/")[0] for one in folds.index})
    single = whales.map(whales[whales != "-1"].value_counts()) == 1
    assert single.any() and (folds[single] == -3).all()
    command("train", *common, "--fold", 0)
    command("validate", *common)
    command("infer", *common, "--answers", tmp_path / "answers.csv")
    text = capsys.readouterr().out
    assert "MAP@20" in text and "precision@20" in text
    submission = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str).set_index("image")
    assert submission.shape[1] == 20 and submission.notna().all(axis=None)
    known = {*folds.index, *submission.index}
    for query, row in submission.iterrows():
        assert set(row) <= known - {query} and len(set(row)) == 20
    part = load_predictions(tmp_path / "run" / "fold0" / "gallery.safetensors")
    assert set(folds.index[single]) <= set(part.ids)  # they do not train, and can be found


def test_turtle2022_runs_with_its_real_structure(tmp_path, capsys):
    """Two tables of turtles, of which one is scored; five columns; scores over all turtles, and over those and the new
    one."""
    make_turtles(tmp_path / "data", tmp_path / "answers.csv")
    common = ["--data", tmp_path / "data", "--run-dir", tmp_path / "run"]
    small = [*SMALL, "--images.image-size", 48, 48, "--stages.0.num-epochs", 2, "--stages.0.accumulate", 1]
    command("prepare", "turtle2022", *common, *small, "--predict.views", "plain", "hflip", "rot45")
    command("train", *common)
    command("validate", *common)
    command("infer", *common, "--answers", tmp_path / "answers.csv")
    train, extra = (pd.read_csv(tmp_path / "data" / one, dtype=str) for one in ("train.csv", "extra_images.csv"))
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


OWN_FAULTS = {
    "values = {}\n\n\ndef recipe():\n    return values['lr']\n": ", line 5: KeyError: 'lr'",
    "def recipe():\n    return 1 / 0\n": ", line 2: ZeroDivisionError: division by zero",
    "import sys\n\nsys.exit(0)\n": ", line 3: SystemExit: 0",
    "def recipe():\n    raise SystemExit\n": ", line 2: SystemExit\n",
    "def recipe(:\n    pass\n": ", line 1: SyntaxError: ",
    "import no_such_module\n": ", line 1: ModuleNotFoundError: No module named 'no_such_module'",
    "def recipe(one):\n    pass\n": ": TypeError: recipe() missing 1 required positional argument: 'one'",
    "from imettk.config import StagePlan\n\n\ndef recipe():\n    return StagePlan(lr=(-1.0,))\n": (
        ", line 5: `lr` of StagePlan must be one or more values of 0 or above, got (-1.0,)"
    ),
    "import json\n\n\ndef helper():\n    return json.loads('{')\n\n\ndef recipe():\n    return helper()\n": (
        ", line 5: JSONDecodeError: "
    ),
    "recipe = None\n": " has no function recipe()",
    "x = 1\n": " has no function recipe()",
    "def recipe():\n    raise ValueError('two\\nlines')\n": ", line 2: ValueError: two lines",
    "def recipe():\n    return 3\n": ": recipe() must return a Recipe, got int",
    "from pathlib import Path\n\nfrom imettk.config import ModelPlan, Recipe\n\n\ndef recipe():\n"
    "    return Recipe(model=ModelPlan(weights=Path('w.pth')))\n": (
        ": `model.weights` must be a plain value, got PosixPath('w.pth'), a PosixPath"
    ),
}


@pytest.mark.parametrize("text", OWN_FAULTS, ids=lambda text: OWN_FAULTS[text].partition(": ")[2][:30])
def test_what_a_recipes_own_code_raises_is_said_with_its_line(text, tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(SystemExit) as ending:
        main(["train", str(path), "--fields"])
    said = capsys.readouterr().err
    assert ending.value.code == 2 and said.startswith(f"imettk: {path}{OWN_FAULTS[text]}") and said.count("\n") == 1


def test_ctrl_c_in_a_recipe_stops_and_is_no_fault_of_it(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("def recipe():\n    raise KeyboardInterrupt\n")
    with pytest.raises(SystemExit) as ending:
        main(["train", str(tmp_path / "mine.py"), "--fields"])
    assert ending.value.code == 1 and capsys.readouterr().err == "imettk: stopped\n"
