"""Heads, recomputed step by step: from feature maps to logits."""

import pytest
import torch
from torch.nn import functional

from imettk.errors import ConfigError
from imettk.models.backbones import make_backbone
from imettk.models.heads import MapHead
from imettk.models.network import Network

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def maps_of(*channels, rows=6):
    """Return maps of different sizes with values of both signs."""
    sizes = [(rows, width, 5 - place, 3 + place) for place, width in enumerate(channels)]
    return [torch.randn(size, generator=seeded(place)) for place, size in enumerate(sizes)]


def make_head(channels, **changes):
    torch.manual_seed(3)
    return MapHead(channels, 4, **{"wide": True, "hidden": 7, **changes})


def make(backbone="timm:test_resnet", **changes):
    torch.manual_seed(0)
    return Network(**{"backbone": backbone, "num_classes": 4, "mean": MEAN, "std": STD, **changes}).eval()


def pixels(channels=3, size=64):
    return torch.randint(0, 256, (2, size, size, channels), dtype=torch.uint8, generator=seeded())


def mean_and_max(maps):
    parts = []
    for features in maps:
        flat = features.flatten(2)
        parts += [flat.sum(2) / flat.shape[2], flat.sort(2).values[:, :, -1]]
    return torch.cat(parts, 1)


@pytest.mark.parametrize("channels", [[5], [3, 5]])
def test_the_wide_head_is_its_layers_one_after_the_other(channels):
    head = make_head(channels, dropout=0.5)
    maps, width = maps_of(*channels), 2 * sum(channels)
    named = [layer.__class__.__name__ for layer in head.layers]
    assert named == ["BatchNorm1d", "Dropout", "Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear"]
    assert [tuple(head.state_dict()[f"layers.{place}.weight"].shape) for place in (0, 2, 4, 6)] == [
        (width,), (7, width), (7,), (4, 7),
    ]  # fmt: skip
    torch.manual_seed(0)
    for norm in (head.layers[0], head.layers[4]):  # as after some training
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.data.uniform_(0.5, 2)
        norm.bias.data.normal_()
    state = head.eval().state_dict()

    def norm(values, place):
        mean, var = state[f"layers.{place}.running_mean"], state[f"layers.{place}.running_var"]
        scaled = (values - mean) / (var + 1e-5).sqrt()
        return scaled * state[f"layers.{place}.weight"] + state[f"layers.{place}.bias"]

    def linear(values, place):
        return values @ state[f"layers.{place}.weight"].T + state[f"layers.{place}.bias"]

    with torch.no_grad():
        hidden = norm(linear(norm(mean_and_max(maps), 0), 2).clamp(min=0), 4)
        torch.testing.assert_close(head(maps), linear(hidden, 6), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("wide", "places"), [(True, (1, 5)), (False, (0,))])
def test_dropout_works_in_training_only_and_in_each_of_its_places(wide, places):
    head, maps = make_head([5], wide=wide, dropout=0.5), maps_of(5)
    with torch.no_grad():
        assert torch.equal(head.eval()(maps), head(maps))
        for place in places:
            head.eval().layers[place].train()
            assert not torch.equal(head(maps), head(maps))
        torch.manual_seed(0)
        dropped = head.layers[places[0]].train()(torch.ones(1000, 50))
    assert dropped.unique().tolist() == [0, 2] and 0.48 < (dropped == 0).float().mean() < 0.52


@pytest.mark.parametrize("channels", [[5], [3, 5]])
def test_the_relu_head_takes_negative_values_out_before_the_average(channels):
    head, maps = make_head(channels, wide=False).eval(), maps_of(*channels)
    (linear,) = [layer for layer in head.layers if isinstance(layer, torch.nn.Linear)]
    assert linear.weight.shape == (4, sum(channels))
    pooled = torch.cat([functional.relu(features).mean(3).mean(2) for features in maps], 1)
    torch.testing.assert_close(head(maps), linear(pooled))
    later = torch.cat([functional.relu(features.mean(3).mean(2)) for features in maps], 1)
    assert (pooled - later).abs().max() > 0.1


@pytest.mark.parametrize("head", ["linear", "relu", "wide"])
def test_two_stages_are_both_in_the_logits(head):
    network, images = make(head=head, last_levels=2, hidden=8), pixels()
    assert isinstance(network.head, MapHead)
    normalised = (images.permute(0, 3, 1, 2).float() - network.mean) / network.std
    with torch.no_grad():
        body = network.backbone.body
        third = body.layer3(body.layer2(body.layer1(body.maxpool(body.act1(body.bn1(body.conv1(normalised)))))))
        maps = [third, body.layer4(third)]
        torch.testing.assert_close(network(images).logits, network.head(maps), rtol=1e-4, atol=1e-5)
        without = network.head([torch.zeros_like(third), maps[1]])
    assert not torch.allclose(network(images).logits, without, atol=1e-4)


BACKBONES = {  # name: side of the images, channels of the last two maps, pooled features are the map's average
    "timm:test_resnet": (64, [192, 96], True),
    "timm:densenet121": (32, [1024, 1024], True),
    "timm:test_vit": (160, [64, 64], False),
    "timm:test_efficientnet": (64, [256], True),
    "pretrainedmodels:se_resnext50_32x4d": (32, [1024, 2048], True),
    "pretrainedmodels:densenet161": (32, [2112, 2208], False),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_maps_have_the_promised_channels_and_pool_to_the_features(name):
    side, channels, pooled = BACKBONES[name]
    torch.manual_seed(0)
    backbone = make_backbone(name, channels=4)
    images = torch.randn(1, 4, side, side, generator=seeded())
    stages = len(channels)
    if name.startswith("timm:") and not hasattr(backbone.body, "forward_intermediates"):  # DenseNet of an older timm
        with pytest.raises(ConfigError, match="has no maps of earlier levels; set it to 1"):
            backbone.map_channels(stages)
        return
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    assert backbone.map_channels(stages) == channels
    assert backbone.training, "looking at the maps leaves the network as it was"
    assert all(torch.equal(before[name], value) for name, value in backbone.named_buffers())
    with torch.no_grad():
        maps, (last,), features = backbone.eval().maps(images, stages), backbone.maps(images, 1), backbone(images)
    assert [feature_map.shape[:2] for feature_map in maps] == [(1, width) for width in channels]
    assert all(feature_map.ndim == 4 and feature_map.isfinite().all() for feature_map in maps)
    assert torch.equal(maps[-1], last) and maps[0].shape[2] >= last.shape[2] >= 1
    if pooled:
        torch.testing.assert_close(last.mean((2, 3)), features, rtol=1e-4, atol=1e-5)
    elif name.startswith("pretrained"):
        torch.testing.assert_close(last.relu().mean((2, 3)), features, rtol=1e-4, atol=1e-5)


def test_four_channels_reach_the_first_layer_and_the_logits():
    network, images = make(head="wide", hidden=8, mean=(0.1,) * 4, std=(0.2,) * 4), pixels(4)
    assert network.backbone.body.conv1[0].weight.shape[1] == 4
    other = images.clone()
    other[..., 3] = 255 - other[..., 3]
    with torch.no_grad():
        assert not torch.equal(network(images).logits, network(other).logits)


@pytest.mark.parametrize(
    ("options", "num_groups"),
    [
        ({"head": "wide", "hidden": 8}, 3), ({"head": "relu", "last_levels": 2}, 1),
        ({"backbone": "timm:test_efficientnet", "head": "wide"}, 2), ({"backbone": "timm:test_vit", "head": "relu"}, 2),
        ({"backbone": "pretrainedmodels:resnet18", "head": "wide", "last_levels": 2}, 3),
    ],
)  # fmt: skip
def test_every_parameter_is_in_one_group(options, num_groups):
    network = make(**options)
    groups = network.layer_groups(num_groups)
    names = [name for group in groups for name in group]
    assert len(groups) == num_groups + 1 and all(groups)
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())
    assert all(name.startswith("head.") for name in groups[-1])


@pytest.mark.parametrize("last_levels", [1, 2])
@pytest.mark.parametrize("backbone", ["timm:test_resnet", "pretrainedmodels:resnet18"])
def test_gradients_reach_every_parameter(backbone, last_levels):
    network = make(backbone, head="wide", hidden=8, last_levels=last_levels).train()
    network(pixels()).logits.square().sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_a_network_without_known_stages_says_so_for_two():
    backbone = make_backbone("pretrainedmodels:bninception", channels=3)
    with pytest.raises(ConfigError, match="has no known levels; set it to 1"):
        backbone.map_channels(2)
