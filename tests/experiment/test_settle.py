"""Mean, std and the network behind a hub's name follow the weights, and stay as a training began with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.numpy import load_file
from tiny import SMALL, TINY, refused, run

from imettk.config.earlier import IMAGENET
from imettk.models.weights_file import WeightsInfo, save_weights
from imettk.tracking.tensors import read_tensors, read_values, save_tensors

pytestmark = pytest.mark.usefixtures("no_charts_here")

# The recipe digits has one channel and mean 0.2, std 0.3; with these it follows the weights.
OPEN = ["--images.mean", "none", "--images.std", "none"]
USUAL = [word for name, values in IMAGENET.items() for word in (f"--images.{name}", *map(str, values))]
COLOUR = ["--images.channels", 3]


def write_weights(path: Path, model: str = "test_resnet", **about: object) -> str:
    torch.manual_seed(0)
    network = timm.create_model(model, num_classes=10)
    save_weights(path, network.state_dict(), WeightsInfo(architecture=f"timm:{model}", **about))
    return str(path)


@pytest.fixture(scope="module")
def prepared(digits_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("settle")
    run("prepare", "digits", "--data", digits_data / "data", "--run-dir", folder / "run", *TINY, *SMALL)
    return folder / "run"


@pytest.fixture
def place(prepared, digits_data, tmp_path):
    """Copies of the prepared folder, and the words of a command there."""

    def words(name: str, *options: object) -> list[object]:
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(prepared, folder)
        return ["digits", "--data", digits_data / "data", "--run-dir", folder, "--fold", 0, *TINY, *SMALL, *options]

    return words


def bits(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "fold0" / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = bits(one), bits(other)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def noted(folder: Path, fold: int = 0) -> dict[str, list[float]]:
    images = read_values(folder / f"fold{fold}" / "model.safetensors")["images"]
    return {name: pytest.approx(images[name]) for name in ("mean", "std")}


def test_a_training_that_follows_its_weights_is_the_one_that_names_their_mean(place, tmp_path, capsys):
    """One channel takes the mean of the three."""
    path = write_weights(tmp_path / "w.safetensors", mean=(0.1, 0.2, 0.3), std=(0.1, 0.2, 0.6))
    follows, names = place("follows", *OPEN, "--model.weights", path), place("names", "--model.weights", path)
    line = f"images are normalised with mean 0.2 and std 0.3 (of {path})"
    run("train", *follows, "--dry-run")
    assert line in capsys.readouterr().out
    run("train", *follows)
    assert line in capsys.readouterr().out
    run("train", *names)
    assert "mean 0.2 and std 0.3 (as the recipe gives them)" in capsys.readouterr().out
    assert same(tmp_path / "follows", tmp_path / "names")
    assert noted(tmp_path / "follows") == {"mean": [0.2], "std": [0.3]}
    Path(path).unlink()
    for words in (follows, names):  # the model says it now
        run("validate", *words)
    scores = [(tmp_path / name / "scores.json").read_text() for name in ("follows", "names")]
    assert scores[0] == scores[1]


def test_random_weights_take_those_of_imagenet_as_ever(place, tmp_path, capsys):
    run("train", *place("open", *OPEN, *COLOUR))
    assert "mean 0.485 0.456 0.406 and std 0.229 0.224 0.225 (ImageNet's)" in capsys.readouterr().out
    run("train", *place("given", *COLOUR, *USUAL))
    assert same(tmp_path / "open", tmp_path / "given")


def test_a_training_keeps_what_it_began_with(place, tmp_path, capsys):
    path = write_weights(tmp_path / "w.safetensors", mean=(0.2,) * 3, std=(0.3,) * 3)
    words = ["--model.weights", path, *OPEN]
    run("train", *place("whole", *words))
    run("train", *place("parts", *words, "--session.limit-steps", 1))
    write_weights(Path(path), mean=(0.7,) * 3, std=(0.8,) * 3)
    capsys.readouterr()
    run("train", *place("parts", *words))
    assert "mean 0.2 and std 0.3 (as the training began)" in capsys.readouterr().out
    assert same(tmp_path / "whole", tmp_path / "parts")
    # So does a fold that begins later.
    run("train", *place("parts", *words), "--fold", 1)
    assert noted(tmp_path / "parts", 1) == {"mean": [0.2], "std": [0.3]}


def test_a_training_that_an_earlier_version_began_goes_on_with_imagenets(place, tmp_path):
    """Its checkpoints hold the recipe alone, in which the default of then stands in numbers."""
    path = write_weights(tmp_path / "w.safetensors", mean=(0.5,) * 3, std=(0.5,) * 3)
    words = [*COLOUR, "--model.weights", path]
    run("train", *place("whole", *words, *USUAL))
    run("train", *place("parts", *words, *USUAL, "--session.limit-steps", 1))
    for checkpoint in (tmp_path / "parts" / "fold0" / "checkpoints").iterdir():
        file = read_tensors(checkpoint)
        values = {name: value for name, value in file.values.items() if name not in ("images", "model")}
        save_tensors(checkpoint, file.tensors, values)
    run("train", *place("parts", *words, *OPEN))
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert noted(tmp_path / "parts") == {name: list(values) for name, values in IMAGENET.items()}


def test_a_mean_that_a_training_did_not_begin_with_is_refused(place, tmp_path, capsys):
    """ImageNet's have the fingerprint of none given, since they were the default."""
    path = write_weights(tmp_path / "w.safetensors", mean=(0.5,) * 3, std=(0.25,) * 3)
    words = [*COLOUR, "--model.weights", path]
    run("train", *place("run", *words, *OPEN, "--session.limit-steps", 1))
    change = "images.mean: (0.5, 0.5, 0.5) -> (0.485, 0.456, 0.406)"
    assert f"fold 0 has a checkpoint of another recipe: {change}" in refused(
        capsys, "train", *place("run", *words, *USUAL)
    )
    run("train", *place("run", *words, *OPEN))
    for command in ("train", "validate"):
        assert change in refused(capsys, command, *place("run", *words, *USUAL))
    run("validate", *place("run", *words, *OPEN))


def test_weights_of_another_training_bring_their_mean(place, tmp_path, capsys):
    """Be they given by `--model.weights` or by `--resume weights`."""
    run("train", *place("other"))
    model = tmp_path / "other" / "fold0" / "model.safetensors"
    run("train", *place("given", *OPEN, "--model.weights", model))
    assert f"mean 0.2 and std 0.3 (of {model})" in capsys.readouterr().out
    assert noted(tmp_path / "given") == {"mean": [0.2], "std": [0.3]}
    words = place("resumed", *OPEN, "--train.seed", 7, "--inputs", tmp_path / "other", "--resume", "weights")
    run("train", *words)
    assert noted(tmp_path / "resumed") == {"mean": [0.2], "std": [0.3]}


def test_a_name_of_the_hub_goes_through_every_command(place, tmp_path, capsys):
    folder = tmp_path / "weights"
    folder.mkdir()
    write_weights(folder / "owner--name.safetensors", "test_vit", mean=(0.2,) * 3, std=(0.3,) * 3)
    size = ["--images.image-size", 160, 160, "--model.backbone"]
    words = place("run", *OPEN, *size, "hf-hub:owner/name", "--model.weights", folder)
    run("train", *words, "--dry-run")
    run("train", *words)
    shutil.rmtree(folder)
    run("validate", *words)
    run("infer", *words)
    assert (tmp_path / "run" / "submission.csv").is_file()
    assert read_values(tmp_path / "run" / "fold0" / "model.safetensors")["model"]["backbone"] == "timm:test_vit"
    named = place("named", *size, "timm:test_vit", "--model.weights", tmp_path / "w.safetensors")
    write_weights(tmp_path / "w.safetensors", "test_vit")
    run("train", *named)
    assert same(tmp_path / "run", tmp_path / "named")
    line = refused(capsys, "train", *place("none", "--model.backbone", "hf-hub:owner/name"), "--dry-run")
    assert (
        "hf-hub:owner/name is only known from its weights: download them with `imettk weights hf-hub:owner/name`"
        in line
    )
