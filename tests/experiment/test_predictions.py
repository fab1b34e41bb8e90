"""Images for which a network outputs NaN get the others' mean and are named; predictions have a size of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from imettk.config import Recipe, fingerprint
from imettk.data.reader import resize
from imettk.data.sample_table import SampleTable
from imettk.data.source import ImageSource, make_reader
from imettk.errors import MismatchError, TrainingError
from imettk.experiment.predictions import TrainedModels, evaluate
from imettk.experiment.prepared import ImageRows
from imettk.inference.predictor import Predictions, save_predictions
from imettk.models.heads import Outputs
from imettk.recipes.digits import digits
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import save_tensors
from imettk.training.process_group import Compute


class Unsure(nn.Module):
    """A network that outputs NaN for some images, by their first pixel."""

    def forward(self, images: torch.Tensor) -> Outputs:
        pixel = images[:, 0, 0, :1].float()
        return Outputs(torch.where(pixel < 2, torch.nan, pixel.expand(-1, 3)))


def test_images_for_which_the_network_outputs_nan_get_the_mean_and_are_named(tmp_path, capsys):
    for number in range(5):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"{number}.png")
    paths = np.array([str(tmp_path / f"{number}.png") for number in range(5)])
    table = SampleTable(np.array(list("abcde")), paths, ("x", "y", "z"), ("",) * 3)
    recipe = replace(digits(), images=replace(digits().images, image_size=(8, 8)))
    source = ImageSource(table, make_reader(recipe))
    compute = Compute(torch.device("cpu"), torch.float32)

    def first_logits(rows: list[int], what: str | None) -> list[float]:
        images = ImageRows(table, source, np.array(rows))
        outputs = evaluate(Unsure(), images, recipe, compute, views=("plain",), what=what)
        return outputs.logits[0, :, 0].tolist()

    assert first_logits([2, 1, 4, 0, 3], "fold 0 oof") == [2, 3, 4, 3, 3]
    assert (
        "warning: fold 0 oof: the network outputs NaN for 2 images (1.png, 0.png), which got the mean prediction"
        in capsys.readouterr().out
    )
    with pytest.raises(TrainingError, match="fold 0 test: the network outputs NaN for every image: train it again"):
        first_logits([0, 1], "fold 0 test")
    assert np.isnan(first_logits([4, 0], None)).tolist() == [False, True]  # a curve shows it


class Means(nn.Module):
    """A network that outputs its images' size and mean."""

    def forward(self, images: torch.Tensor) -> Outputs:
        size = torch.tensor(images.shape[1:3]).expand(len(images), 2).float()
        return Outputs(torch.cat([size, images.float().mean((1, 2))], 1))


@pytest.mark.parametrize("size", [(12, 20), (8, 12), (40, 40)])
def test_predictions_in_another_size_are_of_the_files_in_that_size(tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40), np.uint8)
    paths = np.array([str(tmp_path / f"{number}.png") for number in range(3)])
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    table = SampleTable(np.array(list("abc")), paths, ("x", "y", "z"), ("",) * 3)
    recipe = replace(digits(), images=replace(digits().images, image_size=(16, 16)))
    other = replace(recipe, predict=replace(recipe.predict, image_size=size))
    images = ImageRows(table, ImageSource(table, make_reader(recipe)), np.arange(3))

    def outputs(recipe: Recipe, **more: tuple[int, int]) -> list[list[float]]:
        compute = Compute(torch.device("cpu"), torch.float32)
        return evaluate(Means(), images, recipe, compute, views=("plain", "hflip"), **more).logits[1].tolist()

    reader = make_reader(recipe)
    if size != (8, 12):
        reader = replace(reader, size=size)
    expected = [[*size, float(resize(reader.read(path), size, fast=True).mean())] for path in paths]
    np.testing.assert_allclose(outputs(other), expected, rtol=1e-5)
    assert outputs(other, size=(16, 16)) == outputs(recipe), "as a training validates"


def test_the_size_is_part_of_what_identifies_predictions(tmp_path):
    (tmp_path / "fold0").mkdir()
    (tmp_path / "fold0" / "model.safetensors").write_bytes(b"weights")
    table = SampleTable(np.array([]), np.array([]), ("x",), ("",))
    recipe = digits()
    images = ImageRows(table, ImageSource(table, make_reader(recipe)), np.arange(0))

    def identify(size: tuple[int, int] | None) -> dict:
        changed = replace(recipe, predict=replace(recipe.predict, image_size=size))
        models = TrainedModels(changed, RunDir(tmp_path, []), Compute(torch.device("cpu"), torch.float32))
        return models._identify(0, images, ("plain",))

    plain = identify(None)
    assert plain == identify(recipe.images.image_size) and "image_size" not in plain
    assert identify((64, 96)) == plain | {"image_size": [64, 96]}


def test_predictions_of_another_recipe_do_not_stand_in_for_its_model(tmp_path):
    """Else folds that two recipes trained would be scored together, as the model by itself would not be."""
    (tmp_path / "fold0").mkdir()
    recipe, path = digits(), tmp_path / "fold0" / "model.safetensors"
    save_tensors(path, {}, {"fingerprint": fingerprint(recipe)})
    table = SampleTable(np.array([]), np.array([]), ("x",), ("",))
    images = ImageRows(table, ImageSource(table, make_reader(recipe)), np.arange(0))
    models = TrainedModels(recipe, RunDir(tmp_path), Compute(torch.device("cpu"), torch.float32))
    values = models._identify(0, images, ("plain",))
    save_predictions(tmp_path / "fold0" / "test.safetensors", Predictions(images.ids, np.zeros((1, 0, 1)), values))
    assert models.find(0, "test", images, ("plain",)) is not None
    other = replace(models, recipe=replace(recipe, train=replace(recipe.train, seed=7)))
    with pytest.raises(MismatchError, match="was trained by another recipe"):
        other.find(0, "test", images, ("plain",))


class Questions(Unsure):
    """A network that outputs logarithms of probabilities in two parts, of one and two outputs."""

    answered_parts = (1, 2)

    def forward(self, images: torch.Tensor) -> Outputs:
        logits = super().forward(images).logits * torch.tensor([1.0, 1.0, 3.0])
        return Outputs(torch.cat([part.log_softmax(1) for part in logits.split(self.answered_parts, 1)], 1))


def test_the_mean_of_logarithms_of_probabilities_is_made_such_again(tmp_path):
    for number in range(5):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"{number}.png")
    paths = np.array([str(tmp_path / f"{number}.png") for number in range(5)])
    table = SampleTable(np.array(list("abcde")), paths, ("x", "y", "z"), ("p", "q", "q"))
    recipe = replace(digits(), images=replace(digits().images, image_size=(8, 8)))
    source, compute = ImageSource(table, make_reader(recipe)), Compute(torch.device("cpu"), torch.float32)
    images = ImageRows(table, source, np.arange(5))
    outputs = evaluate(Questions(), images, recipe, compute, views=("plain",), what="test")
    probs = outputs.logits[0].exp()
    assert torch.allclose(probs[:, 0], torch.ones(5)) and torch.allclose(probs[:, 1:].sum(1), torch.ones(5))
    mean = outputs.logits[0, 2:, 1:].mean(0).softmax(0)
    assert torch.allclose(probs[:2, 1:], mean.expand(2, 2))
