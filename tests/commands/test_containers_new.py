"""`imettk new` on images that lie in few files, and what it writes on the whole way."""

import pandas as pd
import pytest
from packed import KINDS, TEST, TRAIN, make_csv, make_data, pictures
from tiny import refused, run

pytestmark = pytest.mark.usefixtures("no_charts_here")


@pytest.mark.parametrize("kind", ["hdf5", "csv"])
def test_new_writes_a_recipe_that_goes_the_whole_way(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make_data(tmp_path / "data", kind)
    run("new", "mine", "--data", data)
    printed = capsys.readouterr().out
    name = KINDS[kind][1]["train_images"]
    assert f"images in a file   {name}: " in printed and "nothing odd" in printed
    assert f"column {'row' if kind == 'csv' else 'id'}: 40 of 40" in printed
    tiny = ["--stages.0.num-epochs", 1, "--folds.num-folds", 2, "--model.backbone", "timm:test_resnet"]
    common = ["mine.py", "--data", data, "--run-dir", tmp_path / "run", *tiny]
    run("prepare", *common)
    run("train", *common, "--fold", 0)
    run("validate", *common, "--fold", 0)
    run("infer", *common, "--fold", 0)
    answers = pd.read_csv(tmp_path / "run" / "submission.csv")
    assert len(answers) == TEST and answers["label"].between(0, 1).all()


def test_new_takes_the_shape_of_pixels_that_are_no_square(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    images, labels = pictures(TRAIN, 0)
    pixels = images[:, :20].reshape(TRAIN, -1).repeat(3, 1)
    frame = pd.DataFrame(pixels, columns=[f"p{number}" for number in range(pixels.shape[1])])
    frame.assign(label=labels).to_csv(tmp_path / "data" / "train.csv", index=False)
    line = refused(capsys, "new", "mine", "--data", tmp_path / "data")
    assert "each image has 1440 values" in line and "`imettk new`: --pixel-shape 36x40 or --pixel-shape 32x45" in line
    run("new", "mine", "--data", tmp_path / "data", "--pixel-shape", "30x48")
    assert "typically 30 x 48 pixels" in capsys.readouterr().out
    assert "pixel_shape=(30, 48)" in (tmp_path / "mine.py").read_text()


def test_hold_out_deals_rows_of_a_table_of_pixels(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    make_csv(tmp_path / "data", "train", *pictures(TRAIN, 0))
    run("new", "mine", "--data", tmp_path / "data", "--hold-out", 0.25)
    common = ["mine.py", "--data", "mine-data", "--run-dir", "run", "--folds.num-folds", 2, "--stages.0.num-epochs", 1]
    common += ["--model.backbone", "timm:test_resnet"]
    run("prepare", *common)
    run("train", *common, "--fold", 0)
    run("validate", *common, "--fold", 0)
    run("infer", *common, "--fold", 0, "--answers", "mine-data/answers.csv")
    assert len(pd.read_csv("run/submission.csv")) == TRAIN / 4
