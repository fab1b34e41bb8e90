"""Helpers that backbones share."""

import pytest
from torch import nn

from imettk.errors import ConfigError
from imettk.models.backbone import count_channels, unknown_model_message


class Levels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList([nn.Conv2d(4, 6, 1), nn.Conv2d(6, 9, 3)])

    def maps(self, images, num_levels):
        first = self.levels[0](images)
        return [first, self.levels[1](first)][-num_levels:]


def test_channels_are_those_of_the_last_maps():
    assert count_channels(Levels(), 2, 4, (8, 8)) == [6, 9]
    assert count_channels(Levels(), 1, 4, (8, 8)) == [9]


def test_a_backbone_without_such_maps_is_refused():
    with pytest.raises(ConfigError, match=r"`model.last_levels` 2: this backbone has no such maps \(Calculated padded"):
        count_channels(Levels(), 2, 4, (8, 2))


def test_similar_names_are_named():
    assert unknown_model_message("timm", "resnet43", ["resnet34", "vit"]).endswith(
        "no network 'resnet43'; similar: resnet34"
    )
    assert unknown_model_message("timm", "XYZ", ["vit"]).endswith("no network 'XYZ'")
