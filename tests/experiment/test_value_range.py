"""Percentiles of the set become values once, in `prepare`; everything that reads images of the run takes them."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest
from tiny import refused, run

from imettk.experiment.value_range import VALUES, reader_of
from imettk.tracking.run_dir import RunDir

RECIPE = """
from imettk.config import *
def recipe():
    return Recipe(
        table=TableFormat(task="multiclass", label_column="label", image_suffix=".png"),
        images=ImageFormat(image_size=(32, 32), channels=1, white="2%..98%"),
        stages=(StageConfig(num_epochs=1, batch_size=6),), folds=FoldConfig(num_folds=2),
        model=ModelConfig(backbone="timm:test_resnet"), train=TrainConfig(loss="cross_entropy"),
        rule=RuleConfig(kind="argmax"),
    )
"""


def images_of(folder, number, low, high):
    rng = np.random.default_rng(number)
    folder.mkdir(parents=True)
    images = rng.integers(low, high, (number, 12, 10), np.uint16)
    for row, image in enumerate(images):
        cv2.imwrite(str(folder / f"{folder.name[0]}{row}.png"), image)
    return images


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    train, _ = images_of(folder / "train", 12, 100, 900), images_of(folder / "test", 3, 1500, 4000)
    labels = ["ab"[row % 2] for row in range(12)]
    pd.DataFrame({"id": [f"t{row}" for row in range(12)], "label": labels}).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"id": ["t0", "t1", "t2"], "label": "a"}).to_csv(folder / "sample_submission.csv", index=False)
    (tmp_path / "own.py").write_text(RECIPE)
    return folder, train, tmp_path / "own.py"


def test_the_percentiles_of_training_images_hold_for_all(data, tmp_path, capsys):
    folder, train, recipe = data
    run("prepare", recipe, "--data", folder, "--run-dir", tmp_path / "run")
    directory = RunDir(tmp_path / "run")
    low, high = np.percentile(train, (2, 98))
    reader = reader_of(directory.recipe(), directory)
    assert reader.white == (low, high)
    expected = np.rint(np.clip((train[3] - low) / (high - low), 0, 1) * 255)
    np.testing.assert_allclose(reader.read_whole(str(folder / "train" / "t3.png"))[:, :, 0], expected, atol=1)
    assert reader.read_whole(str(folder / "test" / "t0.png")).min() == 255
    said = capsys.readouterr().out
    assert f"{low:.6g} is black and {high:.6g} white, by 12 training images" in said
    assert "so one kind will look darker" in said
    assert (tmp_path / "run" / VALUES).read_bytes().startswith(b"\x89PNG")

    run("train", "--run-dir", tmp_path / "run", "--data", folder, "--fold", 0)
    assert "images are read from their files" not in capsys.readouterr().out  # the cache is of the same values


def test_a_run_keeps_what_its_training_began_with(data, tmp_path, capsys):
    folder, _, recipe = data
    common = ["--data", folder, "--run-dir", tmp_path / "run"]
    run("prepare", recipe, *common)
    path = tmp_path / "run" / "table.json"
    before = json.loads(path.read_text())["white"]
    for image in (folder / "train").glob("*.png"):
        cv2.imwrite(str(image), cv2.imread(str(image), cv2.IMREAD_UNCHANGED) * 2)
    (tmp_path / "run" / "fold0" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "fold0" / "checkpoints" / "step-00000001.safetensors").touch()
    run("prepare", recipe, *common)
    assert json.loads(path.read_text())["white"] == before
    (tmp_path / "run" / "fold0" / "checkpoints" / "step-00000001.safetensors").unlink()
    run("prepare", recipe, *common)
    assert json.loads(path.read_text())["white"] == pytest.approx([2 * value for value in before])


def test_without_prepare_they_are_not_known(data, tmp_path, capsys):
    folder, _, recipe = data
    said = refused(capsys, "duplicates", recipe, "--data", folder, "--run-dir", tmp_path / "run")
    assert "table.json is not in" in said and "run `imettk prepare` first" in said


def test_another_white_than_was_prepared_is_refused(data, tmp_path, capsys):
    folder, _, recipe = data
    common = [recipe, "--data", folder, "--run-dir", tmp_path / "run"]
    for white in ("5000", "1%..99%"):
        run("prepare", *common, "--images.white", white)
        said = refused(capsys, "train", *common, "--fold", 0)
        assert "table.json is of another `images.white` than 2%..98%: run `imettk prepare` again" in said


def test_a_training_that_goes_on_elsewhere_keeps_the_range_of_its_input(data, tmp_path):
    folder, _, recipe = data
    run("prepare", recipe, "--data", folder, "--run-dir", tmp_path / "first")
    (tmp_path / "first" / "fold0" / "checkpoints").mkdir(parents=True)
    (tmp_path / "first" / "fold0" / "checkpoints" / "step-00000001.safetensors").touch()
    for image in (folder / "train").glob("*.png"):
        cv2.imwrite(str(image), cv2.imread(str(image), cv2.IMREAD_UNCHANGED) * 2)
    run("prepare", recipe, "--data", folder, "--run-dir", tmp_path / "second", "--inputs", tmp_path / "first")
    ranges = [json.loads((tmp_path / name / "table.json").read_text())["white"] for name in ("first", "second")]
    assert ranges[0] == ranges[1]
