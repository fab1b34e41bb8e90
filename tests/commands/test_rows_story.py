"""Tables with several rows an image, from `new` to a submission, an ensemble and pseudo labels, in their own form."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from pictures import make_pictures
from sklearn.metrics import r2_score
from tiny import refused, run

from imettk.inference.predictor import load_predictions

pytestmark = pytest.mark.usefixtures("no_charts_here")
SMALL = ["--images.image-size", 32, 32, "--stages.0.num-epochs", 6, "--stages.0.batch-size", 8, "--folds.num-folds", 2]
SMALL += ["--model.backbone", "timm:test_resnet", "--session.num-workers", 0]
TARGETS = ("Dry_Dead_g", "Dry_Green_g", "Dry_Total_g")
WEIGHTS = (0.1, 0.2, 0.5)


def biomass(folder, num=36, num_test=8, seed=0):
    """As CSIRO's tables: red is dead, green is green, and the third target is the sum; answers in the train's form."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(1, 60, (num + num_test, 2)).round(4)
    values = np.column_stack([values, values.sum(1)])
    frames = {}
    for part, rows in (("train", range(num)), ("test", range(num, num + num_test))):
        (folder / part).mkdir(parents=True)
        for row in rows:
            picture = rng.normal(40, 8, (24, 48, 3))
            picture[..., 2] += 3 * values[row, 0]
            picture[..., 1] += 3 * values[row, 1]
            cv2.imwrite(str(folder / part / f"ID{row}.jpg"), picture.clip(0, 255).astype(np.uint8))
        names = [(f"ID{row}__{name}", f"{part}/ID{row}.jpg", name) for row in rows for name in TARGETS]
        frames[part] = pd.DataFrame(names, columns=["sample_id", "image_path", "target_name"]).assign(
            target=values[list(rows)].ravel().round(4), Sampling_Date=[f"d{row // 3}" for row in rows for _ in TARGETS]
        )
    # In any order but for the first image, by whose rows targets are ordered.
    shuffled = [frames["train"].head(3), frames["train"].iloc[3:].sample(frac=1, random_state=1)]
    pd.concat(shuffled).to_csv(folder / "train.csv", index=False)
    frames["test"][["sample_id", "image_path", "target_name"]].to_csv(folder / "test.csv", index=False)
    frames["test"].to_csv(folder / "answers.csv", index=False)
    sample = frames["test"][["sample_id", "target"]].assign(target=0.0)
    sample.sample(frac=1, random_state=2).to_csv(folder / "sample_submission.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return biomass(tmp_path_factory.mktemp("rows") / "data")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A folder with the recipe that `new` wrote and a run of it."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("new", "mine", "--data", data, "--metric", "r2", "--group-column", "Sampling_Date")
    common = [folder / "mine.py", "--data", data, "--run-dir", folder / "run", *SMALL]
    common += ["--train.loss-params", "weights", "0.1 0.2 0.5"]
    common += ["--score.params", "weights", "0.1 0.2 0.5", "pooled", "true"]
    for command in ("prepare", "train", "validate"):
        run(command, *common)
    run("infer", *common, "--answers", data / "answers.csv")
    return common


def in_rows(frame, ids):
    """Values of images in the order of ids, float (N, T), by pandas' pivot."""
    parts = frame["sample_id"].str.split("__", expand=True)
    wide = frame.assign(id=parts[0], name=parts[1]).pivot(index="id", columns="name", values="target")
    return wide.loc[list(ids), list(TARGETS)].to_numpy()


def weighted_r2(truth, given):
    """One R2 over all rows of all images, each with its target's weight, as CSIRO 2025 scores."""
    weights = np.broadcast_to(WEIGHTS, truth.shape).ravel()
    return r2_score(truth.ravel(), given.ravel(), sample_weight=weights)


def test_a_submission_has_the_samples_rows_in_its_order(data, trained):
    folder, sample = trained[4], pd.read_csv(data / "sample_submission.csv")
    submission = pd.read_csv(folder / "submission.csv")
    assert list(submission.columns) == list(sample.columns)
    assert submission["sample_id"].tolist() == sample["sample_id"].tolist()
    files = [load_predictions(folder / f"fold{fold}" / "test.safetensors") for fold in (0, 1)]
    order = {label: place for place, label in enumerate(files[0].values["labels"])}
    expected = np.mean([file.merged for file in files], 0)[:, [order[name] for name in TARGETS]]
    train = pd.read_csv(data / "train.csv").groupby("target_name")["target"]
    low, high = (getattr(train, end)().loc[list(TARGETS)].to_numpy() for end in ("min", "max"))
    np.testing.assert_allclose(in_rows(submission, files[0].ids), np.clip(expected, low, high), rtol=1e-5)


def test_scores_are_of_images_weighted_as_the_competition_does(data, trained):
    folder = trained[4]
    scores = json.loads((folder / "scores.json").read_text())
    truth = pd.read_csv(data / "answers.csv")
    ids = truth["sample_id"].str.partition("__")[0].unique()
    submission = pd.read_csv(folder / "submission.csv")
    assert scores["test"] == pytest.approx(weighted_r2(in_rows(truth, ids), in_rows(submission, ids)), abs=1e-5)
    assert scores["oof"] > 0.2
    folds = pd.read_csv(folder / "folds.csv")
    assert len(folds) == 36 and folds["id"].str.fullmatch(r"ID\d+").all()
    dates = folds["id"].str[2:].astype(int) // 3
    assert (folds.groupby(dates)["fold"].nunique() == 1).all()


def test_ensembles_and_preflight_write_the_same_rows(data, trained, tmp_path):
    recipe, folder = trained[0], trained[4]
    shutil.copytree(folder, tmp_path / "two")
    words = ["--members", folder, tmp_path / "two", *trained[5:]]
    run("ensemble", recipe, "--data", data, "--run-dir", tmp_path / "both", *words)
    one, both = (pd.read_csv(path / "submission.csv") for path in (folder, tmp_path / "both"))
    assert both["sample_id"].tolist() == one["sample_id"].tolist()
    np.testing.assert_allclose(both["target"], one["target"], rtol=1e-5)
    run("preflight", recipe, "--data", data, "--run-dir", tmp_path / "tried", *trained[5:])


def test_a_hidden_test_set_is_answered_in_its_own_rows(data, trained, tmp_path):
    """As a kernel that is run again on other images."""
    other = biomass(tmp_path / "data", num=2, num_test=5, seed=9)
    shutil.copy(data / "train.csv", other)
    shutil.copytree(data / "train", other / "train", dirs_exist_ok=True)
    run("infer", trained[0], "--data", other, "--inputs", trained[4], "--run-dir", tmp_path / "run", *trained[5:])
    sample, answers = (pd.read_csv(path) for path in (other / "sample_submission.csv", tmp_path / "run/submission.csv"))
    assert answers["sample_id"].tolist() == sample["sample_id"].tolist() and len(answers) == 15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(index=4), r"1 row \(ID\d+__\w+\) missing; an image needs rows for all of"),
        (lambda frame: pd.concat([frame, frame.head(1)]), r"1 row \(ID\d+__\w+\) more than once"),
        (lambda frame: frame.replace("__Dry_Dead_g", "__Dead", regex=True), r"8 ids .* not of the form \{id\}_"),
    ],
)
def test_samples_that_lack_rows_are_refused_before_anything_is_predicted(
    data, trained, tmp_path, capsys, change, message
):
    change(pd.read_csv(data / "sample_submission.csv")).to_csv(data / "bad.csv", index=False)
    words = [*trained[1:], "--table.sample-csv", "bad.csv"]
    line = refused(capsys, "infer", trained[0], *words)
    assert re.search(message, line), line


def test_a_row_that_an_image_lacks_or_two_dates_of_it_are_named(data, trained, tmp_path, capsys):
    frame = pd.read_csv(data / "train.csv")
    frame[frame["sample_id"] != "ID3__Dry_Dead_g"].to_csv(data / "bad.csv", index=False)
    words = [trained[0], "--data", data, "--run-dir", tmp_path / "run", *SMALL, "--table.train-csv", "bad.csv"]
    assert "bad.csv: 1 row (ID3__Dry_Dead_g) missing" in refused(capsys, "prepare", *words)
    frame.loc[frame["sample_id"] == "ID3__Dry_Dead_g", "Sampling_Date"] = "d9"
    frame.to_csv(data / "bad.csv", index=False)
    assert "1 image (ID3) whose rows differ in column Sampling_Date" in refused(capsys, "prepare", *words)


def test_flags_in_long_rows_from_new_to_pseudo_labels(tmp_path, monkeypatch):
    """As RSNA's of 2019: a 0 or 1 for each image and finding, whose probability is submitted."""
    monkeypatch.chdir(tmp_path)
    labels = ["any", "subdural"]
    data = make_pictures(tmp_path / "data", ["none", "any", "any subdural"] * 12, num_test=9)
    for csv in ("train.csv", "sample_submission.csv"):
        frame = pd.read_csv(data / csv, keep_default_na=False)
        rows = [
            (f"{name}_{label}", float(label in cell) if csv == "train.csv" else 0.5)
            for name, cell in frame[["id", "label"]].to_numpy()
            for label in labels
        ]
        pd.DataFrame(rows, columns=["ID", "Label"]).to_csv(data / csv, index=False)
    run("new", "mine", "--data", "data")
    common = ["mine.py", "--data", "data", *SMALL]
    for command in ("prepare", "train", "validate", "infer"):
        run(command, *common, "--run-dir", "run")
    answers = pd.read_csv("run/submission.csv").set_index("ID")["Label"]
    files = [load_predictions(Path(f"run/fold{fold}/test.safetensors")) for fold in (0, 1)]
    probs = np.mean([file.merged for file in files], 0)
    expected = {
        f"{name}_{label}": probs[row, column]
        for row, name in enumerate(files[0].ids)
        for column, label in enumerate(files[0].values["labels"])
    }
    assert answers.to_dict() == pytest.approx(expected, abs=1e-6)
    run("pseudo", *common, "--run-dir", "run", "--confidence", 0.5)
    assert pd.read_csv("run/pseudo.csv")["ID"].str.fullmatch(r"test\d+_(any|subdural)").all()
    run("prepare", *common, "--run-dir", "again", "--pseudo", "run")
    run("train", *common, "--run-dir", "again", "--pseudo", "run", "--fold", 0)


def test_rows_of_one_image_from_new_to_a_submission(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = make_pictures(tmp_path / "data", ["a", "a d", "b", "b d"] * 9, num_test=8)
    frame = pd.read_csv(data / "train.csv")
    rows = [(name, label) for name, cell in frame.to_numpy() for label in cell.split()]
    rows += rows[:3]  # a row twice is one label once
    pd.DataFrame(rows, columns=["id", "label"]).to_csv(data / "train.csv", index=False)
    run("new", "mine", "--data", "data")
    common = ["mine.py", "--data", "data", *SMALL, "--stages.0.num-epochs", 12]
    capsys.readouterr()
    run("prepare", *common, "--run-dir", "run")
    assert "57 rows; 3 rows add no label" in capsys.readouterr().out
    assert len(pd.read_csv("run/folds.csv")) == 36
    for command in ("train", "validate", "infer"):
        run(command, *common, "--run-dir", "run")
    answers = pd.read_csv("run/submission.csv")
    assert answers["id"].tolist() == [f"test{row:02d}" for row in range(8)]
    assert answers["label"].str.split().map(len).max() == 2
    line = refused(capsys, "prepare", *common, "--run-dir", "no", "--table.join-rows", "false")
    assert "more than once; ids must be unique: if each row has some of its labels, join them with --table.join" in line


@pytest.mark.parametrize("column", ["sample_id", "target_name"])
def test_a_part_is_held_out_by_images(data, tmp_path, monkeypatch, column):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data / "train", tmp_path / "data" / "train")
    frame = pd.read_csv(data / "train.csv")
    frame = frame.drop(columns="sample_id" if column == "target_name" else ["target_name", "image_path"])
    frame.to_csv(tmp_path / "data" / "train.csv", index=False)
    run("new", "mine", "--data", "data", "--hold-out", 0.25)
    train, answers = (pd.read_csv(f"mine-data/{name}.csv") for name in ("train", "answers"))
    assert len(train) + len(answers) == 36 and set(TARGETS) <= set(train.columns)
    run("prepare", "mine.py", "--data", "mine-data", "--run-dir", "run", *SMALL)
