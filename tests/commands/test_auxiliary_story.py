"""Columns that are trained beside the answers and never answered: predictions, scores and submissions know nothing of
them."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from tiny import refused, run

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    Recipe,
    RuleConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    read_recipe,
    to_json,
)
from imettk.data.table import read_table
from imettk.experiment.learned import Learned
from imettk.experiment.prepared import make_network
from imettk.inference.predictor import load_predictions
from imettk.tracking.tensors import read_tensors

pytestmark = pytest.mark.usefixtures("no_charts_here")
NUM = 48


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The brightness of a picture is answered; the channel that is bright is only learned, where it is known."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    light, channel = np.arange(NUM) % 4 * 30, np.arange(NUM) // 4 % 2
    for part, name, rows in (("train", "", range(NUM)), ("test", "q", range(4))):
        (folder / part).mkdir()
        for row in rows:
            picture = rng.normal(60 + light[row], 5, (32, 32, 3))
            picture[:, :16, channel[row]] += 80
            cv2.imwrite(str(folder / part / f"{name}{row}.png"), picture.clip(0, 255).astype(np.uint8))
    known = [None if row % 6 == 5 else int(channel[row]) for row in range(NUM)]
    table = pd.DataFrame({"id": range(NUM), "light": light, "dark": 90 - light, "channel": known}, dtype="Int64")
    table.to_csv(folder / "train.csv", index=False)
    for name in ("sample_submission", "answers"):
        few = table.head(4)[["light", "dark"]].assign(id=[f"q{row}" for row in range(4)])
        few[["id", "light", "dark"]].to_csv(folder / f"{name}.csv", index=False)
    return folder


def recipe_of(task, loss, rule, weights="1 1 2"):
    return Recipe(
        table=TableFormat(task=task, label_columns=("light", "dark"), auxiliary_columns=("channel",)),
        folds=FoldConfig(num_folds=2),
        images=ImageFormat(image_size=(32, 32)),
        model=ModelConfig(backbone="timm:test_resnet"),
        train=TrainConfig(loss=loss, loss_params={"weights": weights}, precision="float32", ema_decay=None),
        stages=(StageConfig(num_epochs=16, batch_size=8, lr=(3e-3,), mixup=0.1),),
        rule=RuleConfig(kind=rule),
        session=SessionConfig(num_workers=0, tensorboard=False),
    )


CASES = {
    "numbers": ("regression", "mse", "value"),
    "questions": ("questions", "question_cross_entropy", "argmax_each"),
}


@pytest.fixture(scope="module", params=CASES)
def made(request, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    path, common = folder / "recipe.json", ["--data", data, "--run-dir", folder / "run"]
    path.write_text(to_json(recipe_of(*CASES[request.param])))
    run("prepare", path, *common)
    for fold in range(2):
        run("train", *common, "--fold", fold)
    run("validate", *common)
    run("infer", *common, "--answers", data / "answers.csv")
    return request.param, folder / "run"


def test_predictions_scores_and_answers_are_of_what_is_asked_alone(made, data):
    kind, folder = made
    oof, test = (load_predictions(folder / "fold0" / f"{name}.safetensors") for name in ("oof", "test"))
    count = 2 if kind == "numbers" else 8
    assert oof.probs.shape[2] == oof.targets.shape[1] == test.probs.shape[2] == count == len(oof.values["labels"])
    assert not any("channel" in label for label in oof.values["labels"])
    assert len(pd.read_csv(folder / "label_scores.csv")) == count
    assert list(pd.read_csv(folder / "submission.csv")) == ["id", "light", "dark"]
    scores = json.loads((folder / "scores.json").read_text())
    better = scores["oof"] < scores["constant"] / 2 if kind == "numbers" else scores["oof"] > 0.7
    assert better and "test" in scores


def test_the_network_has_learned_them(made, data):
    """By the weights that the model keeps, with the outputs that it does not give."""
    kind, folder = made
    recipe = read_recipe(folder / "recipe.json")
    model = read_tensors(folder / "fold0" / "model.safetensors")
    learned, table = Learned.from_values(model.values), read_table(recipe.table, data)
    assert learned == Learned.of(recipe, table)
    names = ("channel",) if kind == "numbers" else ("channel=0", "channel=1")
    assert learned.auxiliary == names and learned.parts == (() if kind == "numbers" else (4, 4, 2))
    whole = make_network(recipe, len(table.labels) + len(names), learned=Learned(learned.parts))
    given = make_network(recipe, len(table.labels), learned=learned)
    for network in (whole, given):
        network.load_state_dict(model.tensors)
        network.eval()
    images = torch.stack([torch.from_numpy(cv2.imread(path)[..., ::-1].copy()) for path in table.paths])
    with torch.inference_mode():
        outputs, answered = whole(images).logits, given(images).logits
    torch.testing.assert_close(outputs[:, : -len(names)], answered)
    said = outputs[:, -1] > (0 if kind == "numbers" else np.log(0.5))
    valid = pd.read_csv(folder / "folds.csv")["fold"].to_numpy() == 0
    known = valid & (np.arange(NUM) % 6 != 5)
    assert (said.numpy() == np.arange(NUM) // 4 % 2)[known].mean() > 0.8
    if kind == "numbers":
        channel = pd.read_csv(data / "train.csv")["channel"][~valid]
        scale = model.values["scale"]
        assert scale["shift"][2] == pytest.approx(channel.mean())
        assert scale["spread"][2] == pytest.approx(channel.std(ddof=0))


def test_a_pseudo_labelled_table_without_the_column_teaches_nothing_of_it(made, data, tmp_path, capsys):
    kind, folder = made
    if kind == "numbers":
        return
    run("pseudo", "--run-dir", folder, "--confidence", 0.5)
    common = ["--data", data, "--run-dir", tmp_path / "more"]
    run("prepare", folder / "recipe.json", *common, "--pseudo", folder)
    assert "has no column channel: its rows have no auxiliary target there" in capsys.readouterr().out
    run("train", *common, "--fold", 0, "--session.limit-steps", 2)


def test_what_does_not_fit_is_one_line(made, data, tmp_path, capsys):
    kind, folder = made
    common = ["prepare", folder / "recipe.json", "--data", data, "--run-dir", tmp_path / "run"]
    frame = pd.read_csv(data / "train.csv", dtype=str)
    frame.assign(channel="").to_csv(data / "empty.csv", index=False)
    frame.assign(channel="high").to_csv(data / "text.csv", index=False)
    for words, what in (
        (["--table.auxiliary-columns", "light"], "`auxiliary_columns` of TableFormat must be different columns"),
        (["--table.auxiliary-columns", "size"], "no column size"),
        (["--table.train-csv", "empty.csv"], "column channel of table.auxiliary_columns is empty"),
        (["--train.loss-params", "weights", "1 1"], "weights must be 3 numbers"),
        (["--train.loss-params", "weights", "0 0 1"], "weights must be 2 numbers"),
    ):
        assert what in refused(capsys, *common, *words), words
    if kind == "numbers":
        line = refused(capsys, *common, "--table.train-csv", "text.csv")
        assert "with 'high' in column channel, which cannot be learned" in line


def test_other_auxiliary_cells_are_other_data(made, data, capsys, tmp_path):
    _, folder = made
    other = tmp_path / "data"
    other.mkdir()
    for name in ("train", "test", "sample_submission.csv"):
        (other / name).symlink_to(data / name)
    frame = pd.read_csv(data / "train.csv", dtype=str)
    frame.loc[0, "channel"] = "1"
    frame.to_csv(other / "train.csv", index=False)
    line = refused(capsys, "train", "--data", other, "--run-dir", folder, "--fold", 0)
    assert "auxiliary columns differ" in line
