"""Networks of timm are built for the size of the images, and left as timm builds them where that fits."""

import pytest
import timm
import torch
from timm.layers import DropPath
from tiny_swin import register_tiny_swin

from imettk.errors import ConfigError
from imettk.models.backbones import make_backbone
from imettk.models.image_sizes import SizeMisfit
from imettk.models.timm_backbone import TimmBackbone

TINY_SWIN = register_tiny_swin()


def images_of(channels, size=64):
    size = (size, size) if isinstance(size, int) else size
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(0))


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
    ("name", "size"),
    [("test_resnet", (40, 56)), ("test_vit", (64, 96)), ("vit_tiny_patch16_224", (224, 224)), (TINY_SWIN, (64, 64))],
)
def test_a_network_that_takes_the_size_is_timms_own_to_the_bit(name, size):
    torch.manual_seed(3)
    ours = TimmBackbone(name, channels=3, size=size).body.state_dict()
    torch.manual_seed(3)
    theirs = timm.create_model(name, in_chans=3, num_classes=0).state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(value, theirs[key]) for key, value in ours.items())


@pytest.mark.filterwarnings("ignore:Using a non-tuple|torch.searchsorted")
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vit_tiny_patch16_224", (64, 96)), ("deit_tiny_distilled_patch16_224", (96, 96)), ("test_maxvit", (96, 64)),
        ("eva02_tiny_patch14_224", (56, 84)), ("hiera_tiny_224", (64, 96)), ("levit_128s", (96, 96)),
        ("gcvit_xxtiny", (64, 64)), ("mvitv2_tiny", (96, 96)), (TINY_SWIN, (96, 128)),
    ],
)  # fmt: skip
def test_any_other_has_the_shapes_of_timms_at_that_size(name, size):
    backbone = TimmBackbone(name, channels=2, size=size).eval()
    theirs = timm.create_model(name, in_chans=2, num_classes=0, img_size=size).eval()
    if name == TINY_SWIN:  # its windows grow with the image, as Swin's authors have it for 384 pixels
        theirs = timm.create_model(name, in_chans=2, num_classes=0).eval()
        theirs.set_input_size(size)
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in backbone.body.state_dict().items()} == shapes
    theirs.load_state_dict(backbone.body.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(backbone(images_of(2, size)), theirs(images_of(2, size)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("vit_tiny_patch16_224", (96, 100), "its patches are 16 x 16 pixels"),
        ("gmlp_ti16_224", (100, 100), "its patches are 16 x 16 pixels"),  # made with `img_size`
        ("convit_tiny", (64, 96), "must match"),
        ("nest_tiny", (64, 96), "only handles square inputs"),
        ("mvitv2_tiny", (64, 96), "AssertionError"),  # its own, for squares
        ("crossvit_tiny_240", (96, 96), "must match"),  # which would make each image one of 240 pixels
        ("hrnet_w18_small", (100, 100), "must match the size|broadcast"),  # a convolutional one, and its branches
    ],
)
def test_a_size_that_does_not_fit_is_refused(name, size, reason):
    with pytest.raises(SizeMisfit, match=reason):
        TimmBackbone(name, channels=3, size=size)


def test_the_message_names_sizes_that_do_fit():
    with pytest.raises(ConfigError) as caught:
        make_backbone("timm:vit_tiny_patch16_224", channels=3, size=(90, 100))
    assert str(caught.value) == (
        "`images.image_size`: timm:vit_tiny_patch16_224 does not take 90 x 100 (its patches are 16 x 16 pixels); "
        "it takes 80 x 96 and 96 x 112"
    )
    with pytest.raises(ConfigError, match=r"only handles square inputs\); it takes 64 x 64 and 96 x 96$"):
        make_backbone("timm:nest_tiny", channels=3, size=(64, 96))


@pytest.mark.filterwarnings("ignore:CSATv2 is designed for 3-channel")
@pytest.mark.parametrize(
    ("name", "channels"), [("csatv2", 4), ("qwen3_vit_88m_enc", 3)], ids=["one of three channels", "an encoder"]
)
def test_a_network_for_other_images_is_refused(name, channels):
    message = rf"`model.backbone`: timm:{name} accepts no images of {channels} channels \(.*\); choose another"
    with pytest.raises(ConfigError, match=message), torch.device("meta"):
        TimmBackbone(name, channels=channels, size=(64, 64))


@pytest.mark.parametrize("name", ["convit_tiny", "mvitv2_tiny"])  # the second would run, and look beyond its tables
def test_a_network_of_one_size_says_so_at_another(name):
    backbone = TimmBackbone(name, channels=3, size=(64, 64)).eval()
    with pytest.raises(SizeMisfit, match="it is built for 64 x 64: "):
        backbone(images_of(3, 96))


def test_one_that_timm_makes_for_a_size_and_that_holds_no_positions_takes_others():
    backbone = TimmBackbone("xcit_nano_12_p8_224", channels=3, size=(64, 64)).eval()
    theirs = timm.create_model("xcit_nano_12_p8_224", num_classes=0).eval()
    theirs.load_state_dict(backbone.body.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(backbone(images_of(3, (96, 64))), theirs(images_of(3, (96, 64))))


@pytest.mark.parametrize("name", ["hiera_tiny_224", "test_vit", TINY_SWIN, "lcnet_035", "test_resnet"])
def test_maps_are_made_in_one_pass_with_channels_in_front(name):
    backbone = TimmBackbone(name, channels=3, size=(64, 64)).train()
    channels, _ = backbone.map_channels(2), backbone.maps(images_of(3), 1)  # the first looks at shapes
    passes = []
    first = next(module for module in backbone.modules() if isinstance(module, torch.nn.Conv2d))
    first.register_forward_hook(lambda *call: passes.append(1))
    for count in (1, 2):
        maps = backbone.maps(images_of(3), count)
        assert [level.shape[1] for level in maps] == channels[-count:] and all(level.ndim == 4 for level in maps)
    assert len(passes) == 2


@pytest.mark.parametrize(
    ("name", "depths", "first", "last"),
    [
        ("test_vit", 7, {"cls_token", "pos_embed", "patch_embed"}, {"blocks.5", "norm"}),
        ("eva02_tiny_patch14_224", 14, {"cls_token", "pos_embed", "patch_embed"}, {"fc_norm"}),
        (TINY_SWIN, 4, {"patch_embed"}, {"norm"}),
        ("test_maxvit", 5, {"stem"}, {"stages.3", "norm"}),
        ("pit_ti_224", 4, {"pos_embed", "cls_token", "patch_embed"}, {"transformers.2", "norm"}),
        ("poolformerv2_s12", 5, {"stem"}, {"stages.3", "head"}),
    ],
)
def test_depths_are_blocks_or_levels(name, depths, first, last):
    by_parameter = TimmBackbone(name, channels=3).depth_of()

    def names(depth):
        parts = [key.removeprefix("body.").split(".")[:2] for key, value in by_parameter.items() if value == depth]
        return {f"{part[0]}.{part[1]}" if part[-1].isdigit() else part[0] for part in parts}

    assert set(by_parameter.values()) == set(range(depths))
    assert names(0) == first and names(depths - 1) == last


RATES = {"drop_path": "drop_path_rate", "backbone_dropout": "proj_drop_rate"}
TINY_VIT = "vit_tiny_patch16_224"


@pytest.mark.parametrize("size", [(64, 96), (96, 64)], ids=["its size", "another stage's"])
@pytest.mark.parametrize(
    ("name", "field"),
    [("test_resnet", "drop_path"), (TINY_VIT, "drop_path"), (TINY_VIT, "backbone_dropout")],
)
def test_rates_of_dropout_are_timms(name, field, size):
    """In training they drop what timm's network drops with the same random numbers, and nothing at inference."""
    torch.manual_seed(0)
    backbone = TimmBackbone(name, channels=3, size=(64, 96), **{field: 0.5}).train()
    for parameter in backbone.parameters():
        parameter.data += 0.1 * torch.rand_like(parameter)  # timm's residual branches begin at 0
    theirs = timm.create_model(name, num_classes=0, **{RATES[field]: 0.5}).train()
    if name == TINY_VIT:
        theirs.set_input_size((64, 96))
    theirs.load_state_dict(backbone.body.state_dict())
    if name == TINY_VIT:
        theirs.set_input_size(size)
    outputs = []
    for network, seed in ((backbone, 0), (theirs, 0), (backbone, 1)):
        torch.manual_seed(seed)
        outputs.append(network(images_of(3, size)))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-3, atol=1e-3)
    assert (outputs[0] - outputs[2]).abs().max() > 0.01, "another seed drops others"
    without = TimmBackbone(name, channels=3, size=(64, 96)).eval()
    without.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        assert torch.equal(backbone.eval()(images_of(3, size)), without(images_of(3, size)))


def drop_path_of(backbone):
    rates = [module.drop_prob for module in backbone.modules() if isinstance(module, DropPath)]
    return max(rates, default=0)


def test_a_network_keeps_timms_own_rates_unless_told():
    swin = "swinv2_tiny_window8_256"
    for rate, expected in ((None, 0.1), (0.0, 0.0), (0.3, 0.3)):
        with torch.device("meta"):
            backbone = TimmBackbone(swin, channels=3, drop_path=rate)
        assert drop_path_of(backbone) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["gcvit_xxtiny", "test_vit"])  # built again with `img_size`, and given the size
def test_rates_outlive_another_size(name):
    assert drop_path_of(TimmBackbone(name, channels=3, size=(64, 64), drop_path=0.2)) == pytest.approx(0.2)


@pytest.mark.parametrize(("field", "name"), [("drop_path", "vgg11"), ("backbone_dropout", "test_resnet")])
def test_a_network_without_such_a_dropout_is_refused(field, name):
    with pytest.raises(ConfigError) as caught, torch.device("meta"):
        make_backbone(f"timm:{name}", channels=3, settings={field: 0.1, "dropout": 0.2})
    assert str(caught.value) == f"`model.{field}`: timm:{name} has no such dropout; leave it out"
