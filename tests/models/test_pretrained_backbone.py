"""Networks of pretrainedmodels return maps, depths and features at the sizes that they accept."""

import pytest
import torch

from imettk.errors import ConfigError
from imettk.models.backbones import make_backbone
from imettk.models.image_sizes import SizeMisfit
from imettk.models.pretrained_backbone import PretrainedmodelsBackbone


def test_the_last_relu_that_pretrainedmodels_leaves_to_its_classifier_is_applied():
    backbone = make_backbone("pretrainedmodels:densenet121", channels=3).eval()
    with torch.no_grad():
        images = torch.randn(2, 3, 224, 224)  # the one size that their own pooling fits
        torch.testing.assert_close(backbone(images), backbone.body.logits(backbone.body.features(images)))


@pytest.mark.parametrize("name", ["squeezenet1_1", "dpn68", "alexnet"])
def test_networks_without_a_map_of_features_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name} of pretrainedmodels has no feature map"):
        make_backbone(f"pretrainedmodels:{name}", channels=3)


def test_a_network_without_blocks_has_a_depth_for_each_layer():
    depths = make_backbone("pretrainedmodels:bninception", channels=3).depth_of()
    assert len(set(depths.values())) > 100


def test_a_size_that_is_too_small_is_refused():
    with pytest.raises(SizeMisfit, match="Kernel size"):
        PretrainedmodelsBackbone("inceptionv4", channels=3, size=(32, 64))
    with pytest.raises(
        ConfigError, match=r"`images.image_size`: pretrainedmodels:inceptionv4 does not take 32 x 64 .*"
    ):
        make_backbone("pretrainedmodels:inceptionv4", channels=3, size=(32, 64))
    assert PretrainedmodelsBackbone("resnet18", channels=4, size=(32, 64)).map_channels(2) == [256, 512]
