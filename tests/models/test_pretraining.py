"""The mean and std of images follow the weights: from their file, or else from their library."""

import json

import pretrainedmodels
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import adapt_input_conv

from imettk.config.choices import BACKBONES
from imettk.errors import ConfigError, MissingFileError
from imettk.models.backbones import make_backbone
from imettk.models.pretraining import adapt_to_channels, check_tag, of_timm, pretraining_of
from imettk.models.weights_file import WeightsInfo, save_weights

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def empty(path, **about):
    save_weights(path, {"x": torch.zeros(1)}, WeightsInfo(**about))
    return str(path)


def plain(path):
    save_file({"x": torch.zeros(1)}, path)
    return str(path)


def values(about):
    return about.mean, about.std


def test_random_weights_take_those_of_imagenet():
    assert values(pretraining_of("timm:tf_efficientnet_lite0", None)) == IMAGENET
    assert values(pretraining_of("recipe:mine", None)) == IMAGENET


def test_a_file_that_says_nothing_is_as_its_library_says(tmp_path):
    """The tag in the file's name counts if timm knows it; otherwise the recipe's tag, or the default one."""
    cases = [
        ("w.safetensors", "timm:tf_efficientnet_lite0", "tf_efficientnet_lite0"),
        ("resnet18.safetensors", "timm:resnet18", "resnet18"),
        ("vit_base_patch16_224.mae.safetensors", "timm:vit_base_patch16_224", "vit_base_patch16_224.mae"),
        ("vit_base_patch16_224.best.safetensors", "timm:vit_base_patch16_224", "vit_base_patch16_224"),
        ("w.safetensors", "timm:vit_base_patch16_224.mae", "vit_base_patch16_224.mae"),
    ]
    for file, backbone, name in cases:
        known = timm.create_model(name, pretrained=False).pretrained_cfg
        about = pretraining_of(backbone, plain(tmp_path / file))
        assert values(about) == (known["mean"], known["std"]), file
        assert about.size == known["input_size"][1:] and about.architecture == backbone
        assert about.source == f"of timm:{known['architecture']}.{known['tag']}"
    assert values(of_timm("vit_base_patch16_224")) != values(of_timm("vit_base_patch16_224.mae"))


@pytest.mark.parametrize(("model", "white"), [("resnet18", 1), ("inceptionv4", 1), ("bninception", 255)])
def test_so_it_is_with_pretrainedmodels(tmp_path, model, white):
    settings = pretrainedmodels.pretrained_settings[model]["imagenet"]
    about = pretraining_of(f"pretrainedmodels:{model}", plain(tmp_path / "w.safetensors"))
    for ours, theirs in ((about.mean, settings["mean"]), (about.std, settings["std"])):
        assert ours == pytest.approx([value / white for value in theirs])


def test_what_a_file_says_itself_counts_first(tmp_path):
    path = empty(tmp_path / "resnet18.safetensors", mean=(0.1,) * 3, std=(0.2,) * 3, architecture="timm:other")
    for weights in (path, str(tmp_path)):
        about = pretraining_of("timm:resnet18", weights)
        assert values(about) == ((0.1,) * 3, (0.2,) * 3) and about.source == f"of {path}"
        assert about.architecture == "timm:resnet18"
    images = {"mean": [0.3], "std": [0.4], "image_size": [8, 8]}
    header = {"imettk": json.dumps({"images": images, "model": {"backbone": "timm:test_vit"}})}
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors", header)
    assert values(pretraining_of("timm:test_vit", str(tmp_path / "model.safetensors"))) == ((0.3,), (0.4,))


def test_ones_own_backbone_takes_what_its_file_says(tmp_path):
    assert values(pretraining_of("recipe:mine", plain(tmp_path / "w.safetensors"))) == IMAGENET
    assert values(pretraining_of("recipe:mine", empty(tmp_path / "v.safetensors", mean=(0.1,), std=(1.0,)))) == (
        (0.1,),
        (1.0,),
    )


def test_the_network_of_a_name_of_the_hub_is_the_one_that_its_file_says(tmp_path):
    network = timm.create_model("test_vit", num_classes=4)
    about = WeightsInfo(architecture="timm:test_vit", mean=(0.5,) * 3, std=(0.5,) * 3)
    save_weights(tmp_path / "owner--name.safetensors", network.state_dict(), about)
    facts = pretraining_of("hf-hub:owner/name", str(tmp_path))
    assert facts.architecture == "timm:test_vit" and values(facts) == ((0.5,) * 3, (0.5,) * 3)
    backbone = make_backbone("hf-hub:owner/name", channels=3, weights=str(tmp_path))
    assert torch.equal(backbone.body.cls_token, network.cls_token)
    with pytest.raises(
        ConfigError,
        match=r"only known from its weights: download them with `imettk weights hf-hub:o",
    ):
        pretraining_of("hf-hub:owner/name", None)
    with pytest.raises(MissingFileError, match=r"owner--other\.safetensors and"):
        pretraining_of("hf-hub:owner/other", str(tmp_path))
    with pytest.raises(ConfigError, match=r"w\.safetensors does not name its network: set `model.backbone`"):
        pretraining_of("hf-hub:owner/name", plain(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_other_channels_have_the_mean_of_the_colour_whose_weights_they_take(channels):
    """With adapted weights, an image equal to the mean gives 0, as it does with three channels."""
    mean = adapt_to_channels(IMAGENET[0], channels)
    assert len(mean) == channels
    if channels == 1:
        assert mean == (pytest.approx(sum(IMAGENET[0]) / 3),)
        return
    weight = torch.eye(3).reshape(3, 3, 1, 1)  # each output is a colour
    adapted = adapt_input_conv(channels, weight)[:, :, 0, 0]
    for channel in range(channels):
        assert mean[channel] == IMAGENET[0][int(adapted[:, channel].argmax())]


def test_every_library_says_what_its_weights_are_of():
    assert all(row.pretraining for row in BACKBONES.values())


def test_a_tag_that_timm_does_not_know_is_told_with_those_it_knows():
    check_tag("resnet18")
    check_tag("resnet18.a1_in1k")
    for make in (lambda: check_tag("resnet18.a1_in2k"), lambda: make_backbone("timm:resnet18.a1_in2k", channels=3)):
        with pytest.raises(ConfigError, match=r"timm has no weights 'a1_in2k' of resnet18; it has a1_in1k, "):
            make()
