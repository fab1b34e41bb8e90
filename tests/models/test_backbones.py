"""Backbones return the features of their library, with weights from local files only."""

import pytest
import torch

from imettk.config.choices import Choice
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


@pytest.mark.parametrize("name", [TIMM, OTHER])
def test_depths_are_the_stages_of_a_resnet(name):
    backbone = make_backbone(name, channels=1)
    depths = backbone.depth_of()
    assert depths.keys() == dict(backbone.named_parameters()).keys()
    for parameter, depth in depths.items():
        block = parameter.split(".")[1]
        assert depth == (int(block[5:]) if block.startswith("layer") else 0), parameter
    assert set(depths.values()) == {0, 1, 2, 3, 4}


class ThreeMaps(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Conv2d(1, 1, 1) for _ in range(3))

    def forward(self, images):
        return [images.expand(-1, 3 + level, -1, -1) for level in range(len(self.layers))]


def test_maps_of_an_own_network_are_chosen_by_their_number():
    backbone = make_backbone(Choice(make=lambda channels: ThreeMaps()), channels=1, size=(8, 8))
    for levels, channels in ((1, [5]), (3, [3, 4, 5]), ((0, 2), [3, 5]), ((1,), [4])):
        assert backbone.map_channels(levels) == channels and backbone.training
    for levels, field in ((4, "`model.last_levels` 4"), ((0, 3), "`model.levels` 0 3")):
        with pytest.raises(ConfigError, match=f"{field}: this network has only 3 feature maps$"):
            backbone.map_channels(levels)
