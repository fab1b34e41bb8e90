"""`new` on folders whose answers are of several images, and what it writes runs to a submission."""

import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from breasts import POOLS, lay_out, picture, read
from tiny import run

from imettk.inference.predictor import load_predictions

pytestmark = pytest.mark.usefixtures("no_charts")


LAYOUTS = {"columns": "unit_columns", "folders": "unit_folders=True", "views": "image_columns"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_new_recipe_goes_the_whole_way(tmp_path, monkeypatch, capsys, layout):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    lay_out(data, layout)
    run("new", "mine", "--data", data, *(["--metric", "roc_auc"] if layout == "columns" else []))
    assert "one answer per" in capsys.readouterr().out or layout == "columns"
    assert LAYOUTS[layout] in (tmp_path / "mine.py").read_text()
    common = [
        "mine.py",
        "--data",
        data,
        "--run-dir",
        tmp_path / "run",
        "--folds.num-folds",
        2,
        "--session.num-workers",
        0,
    ]
    common += ["--stages.0.num-epochs", 2, "--images.image-size", 32, 32, "--session.tensorboard", "false"]
    run("prepare", *common)
    assert "which give one answer each" in capsys.readouterr().out
    for fold in range(2):
        run("train", *common, "--fold", fold)
    run("validate", *common)
    run("infer", *common, "--answers", tmp_path / "answers.csv")
    answers, sample = (
        pd.read_csv(path) for path in (tmp_path / "run" / "submission.csv", data / "sample_submission.csv")
    )
    assert list(answers) == list(sample) and answers.iloc[:, 0].tolist() == sample.iloc[:, 0].tolist()
    train = pd.read_csv(data / "train.csv")
    units = train["patient_id"].nunique() * 2 if layout == "columns" else len(train)
    assert read(tmp_path / "run")["rows"] == units and 0 <= read(tmp_path / "run")["test"] <= 1


@pytest.mark.parametrize("layout", ["folders", "views"])
def test_new_deals_whole_units_to_a_test_set(tmp_path, monkeypatch, layout):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    lay_out(data, layout)
    for name in ("test.csv", "sample_submission.csv"):
        (data / name).unlink(missing_ok=True)
    shutil.rmtree(data / "test")
    run("new", "mine", "--data", data, "--hold-out", 0.25)
    made = tmp_path / "mine-data"
    common = [
        "mine.py",
        "--data",
        made,
        "--run-dir",
        tmp_path / "run",
        "--folds.num-folds",
        2,
        "--session.num-workers",
        0,
    ]
    common += ["--stages.0.num-epochs", 1, "--images.image-size", 32, 32, "--session.tensorboard", "false"]
    run("prepare", *common)
    run("train", *common, "--fold", 0)
    run("validate", *common, "--fold", 0)
    run("infer", *common, "--fold", 0, "--answers", made / "answers.csv")
    answers, held = pd.read_csv(tmp_path / "run" / "submission.csv"), pd.read_csv(made / "answers.csv")
    assert answers["study_id"].tolist() == held["study_id"].tolist() and 3 <= len(held) <= 6
    assert not set(held["study_id"]) & set(pd.read_csv(made / "train.csv")["study_id"])
    assert "test" in read(tmp_path / "run")


def test_studies_whose_sample_has_a_row_for_each_label_go_the_whole_way(tmp_path, monkeypatch):
    """RSNA's tables of the cervical spine (2022): a folder a study, a row a study and vertebra."""
    monkeypatch.chdir(tmp_path)
    data, labels, rng, frames = tmp_path / "data", ["C1", "C2"], np.random.default_rng(0), []
    for part, first, count in (("train", 0, 16), ("test", 100, 5)):
        frames.append(pd.DataFrame([(f"1.2.{first + row}", row % 2, row // 2 % 2) for row in range(count)],
                                   columns=["StudyInstanceUID", *labels]))  # fmt: skip
        for study, *broken in frames[-1].itertuples(index=False):
            for number in range(3):
                path = data / f"{part}_images" / study / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture(rng, sum(broken)))
    frames[0].to_csv(data / "train.csv", index=False)
    frames[1].to_csv(tmp_path / "answers.csv", index=False)
    asked = [f"{study}_{label}" for study in frames[1]["StudyInstanceUID"] for label in labels]
    pd.DataFrame({"row_id": asked, "fractured": 0.5}).to_csv(data / "sample_submission.csv", index=False)
    run("new", "mine", "--data", data)
    common = ["mine.py", "--data", data, "--run-dir", tmp_path / "run", "--folds.num-folds", 2]
    common += ["--stages.0.num-epochs", 1, "--session.num-workers", 0, "--session.tensorboard", "false"]
    run("prepare", *common)
    run("train", *common, "--fold", 0)
    run("validate", *common, "--fold", 0)
    run("infer", *common, "--fold", 0, "--answers", tmp_path / "answers.csv")
    answers = pd.read_csv(tmp_path / "run" / "submission.csv")
    assert answers["row_id"].tolist() == asked and answers["fractured"].between(0, 1).all()
    pool = POOLS[read(tmp_path / "run")["pool"]]
    test = load_predictions(tmp_path / "run" / "fold0" / "test.safetensors")
    made = pd.DataFrame(test.merged).groupby([name.split("/")[0] for name in test.ids])
    expected = made.agg(lambda own: pool(own.to_numpy())).loc[frames[1]["StudyInstanceUID"]]
    assert answers["fractured"].to_numpy() == pytest.approx(expected.to_numpy().ravel(), rel=1e-4)
