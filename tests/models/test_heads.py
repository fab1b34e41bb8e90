"""Heads, recomputed step by step: from feature maps to logits."""

import pytest
import torch
from torch.nn import functional

from imettk.errors import ConfigError
from imettk.models.backbones import make_backbone
from imettk.models.heads import LinearHead, MapHead, PooledHead
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
    levels = len(channels)
    if name.startswith("timm:") and not hasattr(backbone.body, "forward_intermediates"):  # DenseNet of an older timm
        with pytest.raises(ConfigError, match=r"has no maps of earlier levels; use `model.last_levels` 1"):
            backbone.map_channels(levels)
        return
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    assert backbone.map_channels(levels) == channels
    assert backbone.training, "looking at the maps leaves the network as it was"
    assert all(torch.equal(before[name], value) for name, value in backbone.named_buffers())
    with torch.no_grad():
        maps, (last,), features = backbone.eval().maps(images, levels), backbone.maps(images, 1), backbone(images)
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
    for levels in (2, (0, 1)):
        with pytest.raises(ConfigError, match=r"has no known levels; use `model.last_levels` 1"):
            backbone.map_channels(levels)


def test_the_pooled_head_is_its_layers_one_after_the_other():
    torch.manual_seed(3)
    head, maps = PooledHead([3, 5], 4, pool="max", dropout=0.5).eval(), maps_of(3, 5)
    parts = []
    for features, norm in zip(maps, head.norms, strict=True):
        norm.weight.data.uniform_(0.5, 2)
        norm.bias.data.normal_()
        largest = features.flatten(2).sort(2).values[:, :, -1]
        centred = largest - largest.mean(1, keepdim=True)
        parts.append(centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias)
    torch.testing.assert_close(head(maps), torch.cat(parts, 1) @ head.linear.weight.T + head.linear.bias)


@pytest.mark.parametrize("pool", ["average", "max", "average_max", "gem", "attention"])
@pytest.mark.parametrize(("backbone", "size"), [("timm:test_resnet", 48), ("timm:test_vit", 96)])
def test_the_pooled_head_on_several_levels_trains_and_is_saved(backbone, size, pool):
    options = {"head": "pooled", "pool": pool, "levels": (1, 3), "image_size": (size, size), "dropout": 0.5}
    network, images = make(backbone, **options, dropout_samples=3).train(), pixels(size=size)
    assert network(images).logits.shape == (3, 2, 4)
    network(images).logits.square().sum().backward()
    lacking = [name for name, value in network.named_parameters() if value.grad is None]
    assert network.may_leave_unused and not [name for name in lacking if name.startswith("head.")]
    again = make(backbone, **options)
    assert again.state_dict().keys() == network.state_dict().keys(), "masks have no parameters"
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        for shape in (images, pixels(size=size + 32)):  # another size, at which the ViT resamples its positions
            assert torch.equal(again(shape).logits, network.eval()(shape).logits)


def test_each_mask_of_the_last_dropout_is_another_and_gives_its_own_logits():
    features = torch.randn(500, 6, generator=seeded())
    torch.manual_seed(0)
    head = LinearHead(6, 4, dropout=0.25, dropout_samples=3)
    torch.manual_seed(7)
    masks = head.dropout(torch.ones(500, 6))
    assert masks.shape == (3, 500, 6) and masks.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert 0.23 < (masks == 0).float().mean() < 0.27
    assert all(0.3 < (masks[place] != masks[place - 1]).float().mean() < 0.45 for place in range(3))  # 2 * 0.25 * 0.75
    torch.manual_seed(7)
    with torch.no_grad():
        for mask, logits in zip(masks, head(features), strict=True):
            torch.testing.assert_close(logits, (features * mask) @ head.linear.weight.T + head.linear.bias)
        assert torch.equal(head.eval()(features), head.linear(features))


@pytest.mark.parametrize("head", ["linear", "relu", "wide", "pooled"])
def test_masks_of_every_classifier_are_one_without_them_when_not_training(head):
    options = {"head": head, "hidden": 8, "dropout": 0.5, "parts": (1, 3)}
    plain, sampled = make(**options), make(**options, dropout_samples=2)
    assert plain.state_dict().keys() == sampled.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(plain(pixels()).logits, sampled(pixels()).logits)
        logits = sampled.train()(pixels()).logits
    assert logits.shape == (2, 2, 4) and not torch.equal(logits[0], logits[1])
    torch.testing.assert_close(logits.exp().split((1, 3), 2)[1].sum(2), torch.ones(2, 2))  # log-probabilities by part


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit", "timm:test_convnext"])
@pytest.mark.parametrize("levels", [3, (0, 2), (1,)])
def test_maps_of_any_levels_are_timms_intermediates(name, levels):
    torch.manual_seed(0)
    backbone = make_backbone(name, channels=3, size=(64, 64)).eval()
    images = torch.randn(2, 3, 64, 64, generator=seeded())
    with torch.no_grad():
        ours = backbone.maps(images, levels)
        every = backbone.body.forward_intermediates(images, norm="vit" in name, intermediates_only=True)
    expected = every[-levels:] if isinstance(levels, int) else [every[level] for level in levels]
    assert len(ours) == len(expected) and all(map(torch.equal, ours, expected))
    assert backbone.map_channels(levels) == [features.shape[1] for features in expected]


@pytest.mark.parametrize("model", ["resnet18", "densenet121"])
def test_levels_of_pretrainedmodels_are_those_of_its_layers(model):
    torch.manual_seed(0)
    backbone = make_backbone(f"pretrainedmodels:{model}", channels=3).eval()
    images = torch.randn(1, 3, 32, 32, generator=seeded())
    body = backbone.body if model == "resnet18" else backbone.body.features
    names = [f"layer{level}" if model == "resnet18" else f"denseblock{level}" for level in (1, 2, 3)]
    seen = []
    for name in names:
        getattr(body, name).register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    with torch.no_grad():
        (last,) = backbone.maps(images, 1)
        every = [*seen, last]
        for levels, places in ((4, (0, 1, 2, 3)), (3, (1, 2, 3)), ((1, 3), (0, 2)), ((2, 4), (1, 3))):
            maps = backbone.maps(images, levels)
            assert len(maps) == len(places) and all(map(torch.equal, maps, [every[place] for place in places]))
    assert backbone.map_channels((1, 4)) == [every[0].shape[1], last.shape[1]]


@pytest.mark.parametrize(
    ("backbone", "levels", "message"),
    [
        ("timm:test_resnet", 6, r"`model.last_levels` 6: this backbone has no such maps \(.*out of range \(1 to 5\)"),
        ("timm:test_vit", (1, 6), r"`model.levels` 1 6: this backbone has no such maps \(.*out of range \(0 to 5\)"),
        ("pretrainedmodels:resnet18", 5, r"`model.last_levels` 5: .* pretrainedmodels has the levels 1 to 4$"),
        ("pretrainedmodels:resnet18", (0, 4), r"`model.levels` 0 4: .* pretrainedmodels has the levels 1 to 4$"),
    ],
)
def test_levels_that_a_backbone_lacks_are_named(backbone, levels, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make_backbone(backbone, channels=3, size=(64, 64)).map_channels(levels)
    assert "\n" not in str(caught.value)
