"""Weights of another training are loaded, except those of its classes."""

import pytest
import torch
from embedding_networks import network
from safetensors.torch import save_file

from imettk.errors import ConfigError
from imettk.models.network import Network


def saved(model, path):
    save_file(model.state_dict(), path, {"imettk": "{}"})
    return str(path)


def test_weights_of_another_training_are_taken_over_but_for_its_classes(tmp_path, capsys):
    old = network(num_classes=7, joint_dropout=0.1)
    path = saved(old, tmp_path / "model.safetensors")
    new = network(seed=1, num_classes=7, joint_dropout=0.1, weights=path)  # as many classes, but others
    states = old.state_dict(), new.state_dict()
    for name, value in states[1].items():
        same = torch.equal(value, states[0][name])
        assert same == (name not in ("head.centres", "head.joint.1.weight", "head.joint.1.bias")), name
    assert "head.centres" in capsys.readouterr().out
    classifier = network(head="linear", num_classes=3, weights=path)
    body = {name: value for name, value in classifier.state_dict().items() if name.startswith("backbone.")}
    assert all(torch.equal(value, states[0][name]) for name, value in body.items())


def test_a_pool_that_learns_is_taken_over_and_the_classifier_is_not(tmp_path):
    options = {"head": "pooled", "pool": "attention", "levels": (2, 4), "embedding_size": 8}
    old = network(**options)
    new = network(seed=1, **options, weights=saved(old, tmp_path / "model.safetensors"))
    for name, value in new.state_dict().items():
        assert torch.equal(value, old.state_dict()[name]) == (not name.startswith("head.linear")), name


def test_weights_of_another_backbone_are_refused(tmp_path):
    path = saved(network(), tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"lacks \d+ tensors of this backbone, first backbone"):
        Network(backbone="timm:test_vit", num_classes=2, mean=(0.5,), std=(0.5,), weights=path)
