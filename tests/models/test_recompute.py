"""Recomputation keeps less for the backward pass, and is refused where it would keep everything."""

from __future__ import annotations

import pytest
import torch
from tiny_swin import register_tiny_swin

from imettk.errors import ConfigError
from imettk.models.network import Network
from imettk.models.recompute import recompute_activations, require_recomputation


def make(backbone: str, **settings) -> Network:
    torch.manual_seed(0)
    return Network(backbone=backbone, num_classes=3, mean=(0.5,) * 3, std=(0.3,) * 3, image_size=(64, 64), **settings)


@pytest.mark.parametrize("last_levels", [1, 2])
@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext"])
def test_fewer_bytes_are_kept_on_features_and_on_maps(name, last_levels):
    with torch.device("meta"):
        network = make(f"timm:{name}", head="linear" if last_levels == 1 else "wide", last_levels=last_levels)
        require_recomputation(network, (64, 64))


@pytest.mark.parametrize("backbone", ["timm:vgg11", "timm:dla46_c", "pretrainedmodels:resnet18"])
def test_networks_without_it_are_refused_in_a_line(backbone):
    with torch.device("meta"):
        network = make(backbone)
    with pytest.raises(ConfigError, match=r"^`session.recompute_activations` must be False: \w+ keeps all") as caught:
        require_recomputation(network, (64, 64))
    assert "\n" not in str(caught.value)


def test_a_body_that_keeps_everything_all_the_same_is_refused():
    with torch.device("meta"):
        network = make("timm:test_vit")
    network.backbone.body.set_grad_checkpointing = lambda enable: None
    with pytest.raises(ConfigError, match=r"with this `model.head` and `model.last_levels`"):
        require_recomputation(network, (64, 64))


@pytest.mark.parametrize("size", [64, 32])
def test_gradients_at_any_size_have_the_same_bits(size):
    """At the second size positions are resampled, and the network at that size must recompute too."""
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    runs, gradients = [], []
    for enable in (False, True):
        network = make(f"timm:{register_tiny_swin()}").train()
        network(images)  # builds the network of another size before recomputation is turned on
        if enable:
            recompute_activations(network)
        body = network.backbone._at(images.permute(0, 3, 1, 2))
        calls = []
        body.layers[0].blocks[0].register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        network(images).logits.square().sum().backward()
        runs.append(len(calls))
        gradients.append({name: value.grad for name, value in network.named_parameters()})
    assert runs == [1, 2]
    assert all(torch.equal(value, gradients[1][name]) for name, value in gradients[0].items())
