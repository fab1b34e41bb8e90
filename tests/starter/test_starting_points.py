"""A new recipe starts with a network that suits the machine and the available weights."""

import pytest
import timm
import torch
from pictures import make_pictures
from PIL import Image
from tiny import refused, run

from imettk.recipes import load_recipe
from imettk.starter import starting_points
from imettk.starter.starting_points import STARTING_POINTS, TINY, choose_start


@pytest.fixture
def no_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(starting_points, "DRIVER", tmp_path / "no driver")


@pytest.mark.parametrize(
    ("strength", "files", "network", "there"),
    [
        (None, [], "test_resnet", False),
        ("quick", [], "test_resnet", False),
        (None, ["tf_efficientnet_lite0.safetensors"], "tf_efficientnet_lite0", True),
        (None, ["resnet18.a1_in1k.safetensors"], "resnet18.a1_in1k", True),
        (None, ["resnet18.pth"], "resnet18.a1_in1k", True),
        (None, ["resnet18x.pth", "resnet18.txt"], "test_resnet", False),
        ("strong", [], "convnext_small.fb_in22k_ft_in1k_384", False),
        ("strong", ["tf_efficientnetv2_s.in21k_ft_in1k.safetensors"], "tf_efficientnetv2_s.in21k_ft_in1k", True),
        ("quick", ["convnext_small.fb_in22k_ft_in1k_384.safetensors"], "test_resnet", False),
    ],
)
def test_the_first_network_with_weights_is_chosen(no_gpu, tmp_path, strength, files, network, there):
    (tmp_path / "weights").mkdir()
    for name in files:
        (tmp_path / "weights" / name).touch()
    point, found, why = choose_start(strength, tmp_path / "weights")
    assert (point.network, found) == (network, there) and why
    assert choose_start(strength, tmp_path / "none")[1] is False


def test_batchnorm_is_frozen_exactly_where_pretrained_networks_have_it():
    for point in STARTING_POINTS:
        with torch.device("meta"):
            network = timm.create_model(point.network.partition(".")[0], pretrained=False)
        norms = (torch.nn.BatchNorm2d, timm.layers.BatchNormAct2d)
        assert point.freezes_batchnorm == any(isinstance(module, norms) for module in network.modules()), point.network
    assert not TINY.freezes_batchnorm  # whose random weights have no statistics worth keeping


def test_a_machine_with_a_gpu_starts_with_a_strong_network(monkeypatch, tmp_path):
    (tmp_path / "version").touch()
    monkeypatch.setattr(starting_points, "DRIVER", tmp_path / "version")
    assert choose_start(None, tmp_path)[0].strength == "strong"
    assert choose_start("quick", tmp_path)[0] is TINY


def test_costs_of_starting_points():
    for point in STARTING_POINTS:
        assert point.side % point.multiple == 0 and point.num_epochs(10**7) == point.epochs[0]
        assert point.num_epochs(1) == point.epochs[1] and point.t4_hours(2000) >= point.t4_hours(1000) > 0
        assert point.batch_size * point.activation_mb * 1e6 <= starting_points.T4_BYTES
    assert [point.batch_size for point in STARTING_POINTS if point.activation_mb] == [32, 64, 48]


def test_new_uses_the_start_and_prints_which_weights_to_fetch(no_gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = make_pictures(tmp_path / "data", ["a", "b"] * 12)
    run("new", "big", "--data", data, "--start", "strong")
    printed, recipe = capsys.readouterr().out, load_recipe("big.py")
    assert "first, fetch the pretrained weights: imettk weights timm:convnext_small.fb_in22k_ft_in1k_384\n" in printed
    assert "384 x 384 pixels, 20 epochs, batches of 32 in 15 GB, roughly 0.0 h a fold on a T4" in printed
    assert recipe.model.weights == "weights" and recipe.images.image_size == (384, 384)
    assert (recipe.stages[0].layer_decay, recipe.train.ema_decay, recipe.model.layer_groups) == (0.75, 0.99, 4)
    assert (recipe.model.head, recipe.model.last_levels) == ("pooled", 2) and not recipe.stages[0].freeze_batchnorm
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet18.pth").touch()
    run("new", "small", "--data", data)
    printed, recipe = capsys.readouterr().out, load_recipe("small.py")
    assert "weights/ has its weights  [--start]" in printed and "first, " not in printed
    assert recipe.model.backbone == "timm:resnet18.a1_in1k" and recipe.images.image_size == (160, 160)
    assert recipe.stages[0].freeze_batchnorm
    assert (recipe.model.head, recipe.model.pool, recipe.model.last_levels) == ("pooled", "average", 2)
    for path in data.glob("t*/*.png"):
        Image.open(path).convert("L").save(path)
    run("new", "grey", "--data", data)
    assert not load_recipe("grey.py").stages[0].freeze_batchnorm  # the weights' statistics are those of colours
    capsys.readouterr()
    assert "give only one of them" in refused(
        capsys, "new", "x", "--data", data, "--start", "quick", "--like", "digits"
    )
