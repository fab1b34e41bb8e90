"""The whole network: from pixels to logits, and its layer groups."""

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay

from imettk.errors import ConfigError
from imettk.models.backbones import make_backbone
from imettk.models.network import Network

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make(backbone="timm:test_resnet", **changes):
    torch.manual_seed(0)
    return Network(**{"backbone": backbone, "num_classes": 4, "mean": MEAN, "std": STD, **changes}).eval()


def pixels(channels=3, size=32):
    shape = (2, size, size, channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Recorder(torch.nn.Module):
    """A backbone that records its input."""

    def forward(self, images):
        self.images = images
        return torch.zeros(len(images), 96)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_normalisation_is_the_plain_formula(channels, dtype):
    network, images = make(mean=MEAN[:channels], std=STD[:channels]), pixels(channels)
    network.backbone = Recorder()
    network(images.to(dtype))
    seen = network.backbone.images
    assert seen.shape == (2, channels, 32, 32) and seen.dtype == torch.float32
    for channel in range(channels):
        expected = (images[..., channel].double() / 255 - MEAN[channel]) / STD[channel]
        torch.testing.assert_close(seen[:, channel].double(), expected, rtol=1e-5, atol=1e-5)


def test_logits_are_the_pooled_features_through_the_last_layer():
    network, images = make(dropout=0.5), pixels()
    normalised = (images.permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
        :, None, None
    ]
    with torch.no_grad():
        outputs = network(images)
        features = network.backbone.body.forward_features(normalised)
        pooled = torch.stack([features[:, :, y, x] for y in range(features.shape[2]) for x in range(features.shape[3])])
        expected = pooled.mean(0) @ network.head.linear.weight.T + network.head.linear.bias
    assert outputs.logits.shape == (2, 4)
    assert outputs.embeddings is None and outputs.aux_logits is None
    torch.testing.assert_close(outputs.logits, expected, rtol=1e-4, atol=1e-5)


def test_dropout_works_in_training_only():
    network, images = make(dropout=0.5), pixels()
    with torch.no_grad():
        assert torch.equal(network(images).logits, network(images).logits)
        network.head.train()
        assert not torch.equal(network(images).logits, network(images).logits)


def test_mean_and_std_are_no_weights():
    names = set(make().state_dict())
    assert not {name for name in names if "mean" in name and "running" not in name} | (names & {"mean", "std"})


@pytest.mark.parametrize(
    ("backbone", "num_groups"),
    [
        ("timm:test_resnet", 1), ("timm:test_resnet", 2), ("timm:test_resnet", 5), ("timm:test_vit", 3),
        ("timm:test_efficientnet", 2), ("timm:test_convnext", 4), ("pretrainedmodels:resnet18", 3),
    ],
)  # fmt: skip
def test_layer_groups_part_all_parameters(backbone, num_groups):
    network = make(backbone)
    groups = network.layer_groups(num_groups)
    assert len(groups) == num_groups + 1
    assert all(groups)
    names = [name for group in groups for name in group]
    assert len(names) == len(set(names))
    assert set(names) == {name for name, _ in network.named_parameters()}
    assert groups[-1] == ["head.linear.weight", "head.linear.bias"]


@pytest.mark.parametrize("backbone", ["timm:resnet18", "pretrainedmodels:resnet18"])
def test_resnet18_in_two_groups_is_stem_to_layer2_and_layers_3_and_4(backbone):
    blocks = [{name.split(".")[2] for name in group} for group in make(backbone).layer_groups(2)[:-1]]
    assert blocks == [{"conv1", "bn1", "layer1", "layer2"}, {"layer3", "layer4"}]


def test_gradients_reach_every_parameter():
    network = make().train()
    network(pixels()).logits.square().sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_the_network_has_the_weights_of_its_backbone(tmp_path):
    source = make_backbone("timm:test_resnet", channels=3)
    torch.save(source.body.state_dict(), tmp_path / "test_resnet.pth")
    network = make(weights=str(tmp_path))
    for name, value in source.state_dict().items():
        assert torch.equal(value, network.backbone.state_dict()[name])


@pytest.mark.parametrize(
    ("name", "left", "num_groups"),  # the stem, the blocks (of a ConvNeXt between levels one more), the head
    [("test_vit", [], 8), ("test_convnext", ["head.norm.weight", "head.norm.bias"], 11), ("test_resnet", [], 6)],
)
def test_a_group_of_each_block_gives_timms_layer_decay(name, left, num_groups):
    network, classifier = make(f"timm:{name}"), timm.create_model(name, num_classes=4)
    groups = network.layer_groups(0)
    ours = {
        key: 0.7 ** (len(groups) - 1 - number)
        for number, group in enumerate(groups)
        for key in group
        if key.startswith("backbone.")
    }
    names = {id(value): key for key, value in classifier.named_parameters()}
    theirs = {
        names[id(value)]: group["lr_scale"]
        for group in param_groups_layer_decay(classifier, layer_decay=0.7)
        for value in group["params"]
    }
    for key in ("head.weight", "head.bias", "head.fc.weight", "head.fc.bias", "fc.weight", "fc.bias"):
        assert theirs.pop(key, 1.0) == 1.0
    assert ours == pytest.approx({f"backbone.body.{key}": scale for key, scale in theirs.items()}, rel=1e-12)
    assert groups[-1] == [*(f"backbone.body.{key}" for key in left), "head.linear.weight", "head.linear.bias"]
    assert len(groups) == num_groups


def test_a_group_of_each_block_of_other_libraries_is_one_of_each_level():
    network = make("pretrainedmodels:resnet18")
    assert network.layer_groups(0) == network.layer_groups(5)
    blocks = make("timm:poolformerv2_s12").layer_groups(0)  # of which timm numbers nothing
    assert len(blocks) == 6 and all(blocks)


def test_more_groups_than_stages_are_refused():
    with pytest.raises(ConfigError, match=r"`model.layer_groups` must be at most 5, .* got 6"):
        make().layer_groups(6)
