"""The mean of model files is that of their tensors; files that do not belong together are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imettk.config import Recipe, StageConfig, TrainConfig
from imettk.data.data_identity import DataIdentity
from imettk.errors import MismatchError
from imettk.experiment.mean_model import mean_of_models, require_same_network, require_same_recipe
from imettk.tracking.tensors import save_tensors

DATA = DataIdentity(("a", "b"), 3, "ids", "sorted", "targets")
VALUES = {"labels": ["a", "b"], "model": {"backbone": "timm:x"}, "images": {"mean": [0.5]}, "data": DATA.to_values()}


def write(folder, number, *, width=4, **values):
    generator = torch.Generator().manual_seed(number)
    tensors = {
        "weight": torch.randn(3, width, generator=generator),
        "half": torch.randn(5, generator=generator).half(),
        "count": torch.tensor(10 + number),
    }
    path = folder / f"{number}.safetensors"
    save_tensors(path, tensors, VALUES | values)
    return path, tensors


def test_it_is_numpys_mean_in_any_order(tmp_path):
    paths, tensors = zip(*(write(tmp_path, number) for number in range(3)), strict=True)
    made, turned = mean_of_models(paths), mean_of_models(paths[::-1])
    for name, dtype in (("weight", np.float32), ("half", np.float16)):
        expected = np.mean([part[name].numpy().astype(np.float64) for part in tensors], axis=0).astype(dtype)
        assert np.array_equal(made[name].numpy(), expected) and torch.equal(made[name], turned[name])
    assert int(made["count"]) == 10


def test_the_mean_of_one_is_itself(tmp_path):
    path, tensors = write(tmp_path, 0)
    made = mean_of_models([path])
    assert all(torch.equal(value, tensors[name]) for name, value in made.items())


def test_other_shapes_are_refused(tmp_path):
    paths = [write(tmp_path, 0)[0], write(tmp_path, 1, width=5)[0]]
    with pytest.raises(MismatchError, match=r"cannot be averaged: 1 tensor \(weight\) differ"):
        mean_of_models(paths)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"labels": ["a", "c"]}, "labels"),
        ({"model": {"backbone": "timm:y"}}, "model"),
        ({"images": {"mean": [0.4]}}, "images"),
        ({"scale": {"kind": "log"}}, "scale"),
        ({"data": replace(DATA, folds="other").to_values()}, "rows are in other folds"),
    ],
)
def test_other_networks_or_data_are_refused(tmp_path, values, says):
    paths = [write(tmp_path, 0)[0], write(tmp_path, 1, **values)[0]]
    require_same_network(paths[:1] * 2, DATA)
    with pytest.raises(MismatchError, match=says):
        require_same_network(paths, DATA)


def test_recipes_may_differ_in_their_training_alone():
    first = Recipe()
    other = replace(first, train=TrainConfig(seed=1), stages=(StageConfig(lr=(0.1,)),))
    require_same_recipe(first, other, ("one", "two"))
    with pytest.raises(MismatchError, match=r"one and two cannot be averaged: model.dropout: 0.0 -> 0.1"):
        require_same_recipe(first, replace(first, model=replace(first.model, dropout=0.1)), ("one", "two"))
