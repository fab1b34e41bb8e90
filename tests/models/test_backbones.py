"""Backbones give the features of their library, and take weights from local files only."""

import pytest
import timm
import torch

from imettk.errors import ConfigError
from imettk.models.backbones import make_backbone

TIMM, OTHER = "timm:test_resnet", "pretrainedmodels:resnet18"


def images_of(channels, size=64):
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "num_features"), [(TIMM, 96), (OTHER, 512)])
def test_features_have_the_promised_shape(name, num_features, channels):
    backbone = make_backbone(name, channels=channels).eval()
    assert backbone.num_features == num_features
    with torch.no_grad():
        features = backbone(images_of(channels))
    assert features.shape == (2, num_features)
    assert features.isfinite().all()


@pytest.mark.parametrize(
    "model",
    ["test_resnet", "test_efficientnet", "test_vit", "test_byobnet", "test_nfnet", "test_mambaout", "test_convnext"],
)
def test_features_are_those_that_timm_pools_itself(model):
    torch.manual_seed(0)
    backbone = make_backbone(f"timm:{model}", channels=3).eval()
    theirs = timm.create_model(model, num_classes=0).eval()
    theirs.load_state_dict(backbone.body.state_dict())
    images = images_of(3, size=theirs.default_cfg["input_size"][-1])
    with torch.no_grad():
        features, expected = backbone(images), theirs(images)
    assert features.shape[1] == backbone.num_features
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "similar"),
    [("timm:resnet43", "resnet34"), ("pretrainedmodels:resnet19", "resnet18"), ("pretrainedmodels:resnet200d", "")],
)
def test_an_unknown_name_gives_similar_ones(name, similar):
    library, _, model = name.partition(":")
    with pytest.raises(ConfigError, match=f"{library} has no network '{model}'; similar: .*{similar}"):
        make_backbone(name, channels=3)


def test_a_name_like_nothing_gives_none():
    with pytest.raises(ConfigError, match=r"timm has no network 'ÄÖÜ'$"):
        make_backbone("timm:ÄÖÜ", channels=3)


def test_the_last_relu_that_pretrainedmodels_leaves_to_its_classifier_is_applied():
    backbone = make_backbone("pretrainedmodels:densenet121", channels=3).eval()
    with torch.no_grad():
        images = images_of(3, size=224)  # the one size that their own pooling fits
        torch.testing.assert_close(backbone(images), backbone.body.logits(backbone.body.features(images)))


@pytest.mark.parametrize("name", ["squeezenet1_1", "dpn68", "alexnet"])
def test_networks_without_a_map_of_features_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name} of pretrainedmodels has no map of features"):
        make_backbone(f"pretrainedmodels:{name}", channels=3)


def test_a_network_without_blocks_has_a_depth_for_each_layer():
    depths = make_backbone("pretrainedmodels:bninception", channels=3).depth_of()
    assert len(set(depths.values())) > 100


@pytest.mark.parametrize("name", [TIMM, OTHER])
def test_depths_are_the_stages_of_a_resnet(name):
    backbone = make_backbone(name, channels=1)
    depths = backbone.depth_of()
    assert depths.keys() == dict(backbone.named_parameters()).keys()
    for parameter, depth in depths.items():
        block = parameter.split(".")[1]
        assert depth == (int(block[5:]) if block.startswith("layer") else 0), parameter
    assert set(depths.values()) == {0, 1, 2, 3, 4}
