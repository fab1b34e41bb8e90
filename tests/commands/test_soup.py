"""Soups of runs: the mean of their weights, chosen greedily, as a run folder on which the other commands work."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from forked import PATIENCE
from pictures import make_pictures
from tiny import refused, run, scores_of

from imettk.commands import soup as command
from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    Recipe,
    RuleConfig,
    ScoreConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    to_json,
)
from imettk.experiment.predictions import TrainedModels
from imettk.experiment.prepared import choose_compute, read_prepared
from imettk.inference.predictor import load_predictions
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import read_tensors, save_tensors

LABELS = ("red", "green", "blue")
RECIPE = Recipe(
    table=TableFormat(
        task="multiclass",
        answer_columns=LABELS,
        label_column="label",
        train_images="train",
        test_images="test",
        image_suffix=".png",
    ),
    folds=FoldConfig(num_folds=2),
    images=ImageFormat(image_size=(32, 32)),
    model=ModelConfig(backbone="timm:test_resnet"),
    train=TrainConfig(loss="cross_entropy", precision="float32"),
    stages=(StageConfig(num_epochs=5, batch_size=6, lr=(0.01,)),),
    score=ScoreConfig(metric="log_loss"),
    rule=RuleConfig(kind="probability"),
    session=SessionConfig(num_workers=0, tensorboard=False),
)
MEMBERS = ("far", "plus", "minus")
SEEDED = replace(RECIPE.train, seed=5)
pytestmark = pytest.mark.usefixtures("no_charts_here")


def shift(source: Path, folder: Path, size: float, data: Path) -> None:
    """Copy a run with all its kernels moved along one random direction, and predict out of fold."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("checkpoints"))
    for path in sorted(folder.glob("fold*/model.safetensors")):
        model, generator = read_tensors(path), torch.Generator().manual_seed(0)
        for _, value in sorted(model.tensors.items()):
            if value.ndim > 1:
                value += size * value.std() * torch.randn(value.shape, generator=generator)
        save_tensors(path, model.tensors, model.values)
    predict(folder, data)


def predict(folder: Path, data: Path, recipe: Recipe = RECIPE) -> None:
    """Write the files of `validate` that a soup reads, without its scores and charts."""
    folds = RunDir(folder)
    prepared = read_prepared(recipe, data, folds)
    models = TrainedModels(recipe, folds, choose_compute(recipe))
    for fold in folds.trained_folds():
        models.predict(fold, "oof", prepared.images(prepared.rows(fold, valid=True)))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = make_pictures(tmp_path_factory.mktemp("soup") / "data", [*LABELS] * 12)
    sample = pd.read_csv(folder / "sample_submission.csv")[["id"]].assign(**dict.fromkeys(LABELS, 0.3))
    sample.to_csv(folder / "sample_submission.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory) -> Path:
    """Make runs `plus` and `minus`, whose mean is a trained run, `far`, which would spoil it, and their soup `made`."""
    folder = tmp_path_factory.mktemp("soup")
    (folder / "mine.json").write_text(to_json(RECIPE))
    run("prepare", folder / "mine.json", "--data", data, "--run-dir", folder / "trained")
    run("train", "--data", data, "--run-dir", folder / "trained")
    for name, size in (("plus", 1.0), ("minus", -1.0), ("far", 5.0)):
        shift(folder / "trained", folder / name, size, data)
    run(*words(folder, data, folder / "made"))
    return folder


def words(runs: Path, data: Path, made: Path, members: tuple[str, ...] = MEMBERS) -> list[object]:
    return ["soup", "--data", data, "--run-dir", made, "--members", *(runs / name for name in members)]


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of each file of a soup, without the note about the recipe's source."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_weights_are_the_plain_mean_and_statistics_are_made_for_it(runs):
    for fold in (0, 1):
        parts = [read_tensors(runs / name / f"fold{fold}/model.safetensors").tensors for name in ("plus", "minus")]
        made = read_tensors(runs / f"made/fold{fold}/model.safetensors").tensors
        for name, value in made.items():
            mean = np.mean([part[name].numpy() for part in parts], axis=0, dtype=np.float64).astype(np.float32)
            is_statistic = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
            assert np.array_equal(value.numpy(), mean) != is_statistic, name


def test_the_choice_is_greedy_by_the_scores_of_plain_predictions(runs):
    def score(folder: Path) -> float:
        parts = [load_predictions(folder / f"fold{fold}/oof.safetensors") for fold in (0, 1)]
        targets, probs = (np.concatenate([getattr(part, name) for part in parts]) for name in ("targets", "merged"))
        chances = np.take_along_axis(probs / probs.sum(1, keepdims=True), targets[:, None], 1)
        return float(-np.log(np.clip(chances.astype(np.float64), np.finfo(float).eps, 1)).mean())

    noted = json.loads((runs / "made/soup.json").read_text())
    assert noted["alone"] == pytest.approx({name: score(runs / name) for name in MEMBERS}, rel=1e-4)
    assert noted["tried"]["plus"] == pytest.approx(score(runs / "made"), rel=1e-4)
    assert list(noted["tried"]) == ["plus", "far"] and noted["tried"]["far"] > noted["tried"]["plus"]
    assert noted["chosen"] == ["plus", "minus"] and noted["is_made"]
    assert noted["chosen_by_other_folds"] == {"0": ["plus", "minus"], "1": ["plus", "minus"]}
    assert noted["gain"]["of"] == noted["alone"]["minus"] and noted["gain"]["to"] == pytest.approx(
        noted["tried"]["plus"]
    )
    low, high = noted["gain"]["interval"]
    assert low < noted["gain"]["to"] - noted["gain"]["of"] < high < 0


def test_it_is_a_run_folder_like_any_other(runs, data, tmp_path, capsys):
    made = Path(shutil.copytree(runs / "made", tmp_path / "made"))
    assert not (made / "soups").exists()
    run("validate", "--data", data, "--run-dir", made)
    text = capsys.readouterr().out
    assert all(f"fold {fold} oof: taken from {made}" in text for fold in (0, 1))
    expected = json.loads((made / "soup.json").read_text())["tried"]["plus"]
    assert scores_of(made)["oof"] == pytest.approx(expected)
    run("infer", "--data", data, "--run-dir", made)
    assert "6 answers, mean of 2 folds, checked" in capsys.readouterr().out
    capsys.readouterr()
    (made / "soups/0-1").mkdir(parents=True)  # as a kill after the last write leaves it
    run(*words(runs, data, made))
    text = capsys.readouterr().out
    assert "is done already" in text and "of the soup, chosen by the other folds: " in text
    assert [f"{name:<32}" in text for name in MEMBERS] == [True] * 3 and not (made / "soups").exists()


@pytest.mark.parametrize(("place", "call"), [("predict", 9), ("make_model", 6)])
def test_after_a_stop_anywhere_it_goes_on_and_makes_the_same(runs, data, tmp_path, monkeypatch, place, call):
    """Stopped within the choice, and between the models of the soup."""
    original: Callable[..., object] = getattr(command.Soups, place)
    left = [call]

    def stops(*arguments: object) -> object:
        result = original(*arguments)
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("stopped")
        return result

    monkeypatch.setattr(command.Soups, place, stops)
    with pytest.raises(RuntimeError, match="stopped"):
        run(*words(runs, data, tmp_path / "made"))
    assert not (tmp_path / "made/recipe.json").exists()
    run(*words(runs, data, tmp_path / "made"))
    assert hashes(tmp_path / "made") == hashes(runs / "made")


# Kills itself between the model of a candidate and its predictions.
KILLED = """
import os, signal
from imettk.cli.main import main
from imettk.commands.soup import Soups

make_model, left = Soups.make_model, [3]

def killing(self, *arguments):
    make_model(self, *arguments)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

Soups.make_model = killing
main()
"""


def test_sigkill_and_the_same_command_again_make_the_same(forks, runs, data, tmp_path):
    process = forks.start(words(runs, data, tmp_path / "made"), code=KILLED)
    assert process.wait(PATIENCE) == -signal.SIGKILL, process.stderr
    run(*words(runs, data, tmp_path / "made"))
    assert hashes(tmp_path / "made") == hashes(runs / "made")


def test_no_soup_is_made_where_none_gains(runs, data, tmp_path, capsys):
    shift(runs / "trained", tmp_path / "farther", 9.0, data)
    shift(runs / "trained", tmp_path / "trained", 0.0, data)
    run(*words(tmp_path, data, tmp_path / "made", ("trained", "farther")))
    assert "trained alone is better than any soup with it, and no soup is made" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["soup.json"]


def test_a_single_fold_is_judged_on_the_rows_that_chose_and_that_is_noted(runs, data, tmp_path, capsys):
    for name in ("plus", "minus"):
        shutil.copytree(runs / name, tmp_path / name, ignore=shutil.ignore_patterns("fold1"))
    run(*words(tmp_path, data, tmp_path / "made", ("plus", "minus")))
    assert "of the soup, chosen on the same rows, which flatters it" in capsys.readouterr().out
    assert (tmp_path / "made/fold0/model.safetensors").is_file() and not (tmp_path / "made/fold1").exists()


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (replace(RECIPE, model=replace(RECIPE.model, dropout=0.5)), r"model.dropout: 0.0 -> 0.5"),
        (replace(RECIPE, folds=FoldConfig(num_folds=3)), r"folds.num_folds: 2 -> 3"),
    ],
)  # fmt: skip
def test_runs_of_other_networks_or_folds_are_refused(runs, data, tmp_path, capsys, recipe, says):
    shutil.copytree(runs / "minus", tmp_path / "minus")
    shutil.copytree(runs / "plus", tmp_path / "plus")
    (tmp_path / "minus/recipe.json").write_text(to_json(recipe))
    line = refused(capsys, *words(tmp_path, data, tmp_path / "made", ("plus", "minus")))
    assert "cannot be averaged" in line and says in line


def test_what_is_no_soup_is_refused(runs, data, tmp_path, capsys):
    line = refused(capsys, *words(runs, data, tmp_path / "made", ("plus",)))
    assert "two runs or more" in line and "no row is left to judge their mean by" in line
    line = refused(capsys, *words(runs, data, runs / "trained", ("plus", "minus")))
    assert "holds another soup or a training" in line
    for name, content in (("search.json", "{}"), ("recipe.json", to_json(replace(RECIPE, train=SEEDED)))):
        (folder := tmp_path / name[:-5]).mkdir()
        (folder / name).write_text(content)
        line = refused(capsys, *words(runs, data, folder, ("plus", "minus")))
        assert ("holds search.json" if name == "search.json" else "(train.seed: 5 -> 0): use a new --run-dir") in line
        assert [path.name for path in folder.iterdir()] == [name]
    line = refused(capsys, *words(runs, data, runs / "made", ("plus", "minus")))
    assert "holds another soup or a training" in line
    line = refused(capsys, *words(runs, data, tmp_path / "made"), "--predict.views", "plain", "hflip")
    assert "was validated with the views plain, the soup is with plain, hflip" in line
    line = refused(capsys, *words(runs, data, tmp_path / "made"), "--predict.image-size", 64, 48)
    assert "was validated at 32 x 32 pixels, the soup is at 64 x 48: run `imettk validate` there again" in line
    assert not (tmp_path / "made").exists()
