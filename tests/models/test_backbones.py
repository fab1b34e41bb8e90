"""Backbones give the features of their library, and take weights from local files only."""

import warnings

import pytest
import safetensors.torch
import timm
import torch
from timm.models import adapt_input_conv

from imettk.errors import ConfigError, MissingFileError
from imettk.models.backbones import make_backbone

TIMM, OTHER = "timm:test_resnet", "pretrainedmodels:resnet18"


def images_of(channels, size=64):
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def trained():
    """State dicts of whole networks with random weights, as a library would save them: classifier and all."""
    import pretrainedmodels

    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pretrainedmodels still passes torchvision's old `pretrained`
        other = pretrainedmodels.resnet18(num_classes=1000, pretrained=None)
    return {TIMM: timm.create_model("test_resnet", num_classes=10), OTHER: other}


def save(state, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({name: value.contiguous() for name, value in state.items()}, path)
    else:
        torch.save(state, path)
    return str(path)


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


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("as_folder", [False, True])
@pytest.mark.parametrize("name", [TIMM, OTHER])
def test_weights_give_the_features_of_the_network_they_come_from(tmp_path, trained, name, as_folder, suffix):
    path = tmp_path / f"{name.partition(':')[2]}.{suffix}"
    save(trained[name].state_dict(), path)
    backbone = make_backbone(name, channels=3, weights=str(tmp_path if as_folder else path)).eval()
    theirs = trained[name].eval()
    with torch.no_grad():
        maps = theirs.forward_features(images_of(3)) if name == TIMM else theirs.features(images_of(3))
        torch.testing.assert_close(backbone(images_of(3)), maps.mean((2, 3)))


def test_safetensors_come_before_pth(tmp_path, trained):
    save(trained[TIMM].state_dict(), tmp_path / "test_resnet.safetensors")
    (tmp_path / "test_resnet.pth").write_bytes(b"broken")
    make_backbone(TIMM, channels=3, weights=str(tmp_path))


@pytest.mark.parametrize("name", [TIMM, OTHER])
def test_one_channel_adds_up_the_three_as_timm_does(tmp_path, trained, name):
    state = trained[name].state_dict()
    backbone = make_backbone(name, channels=1, weights=save(state, tmp_path / "w.safetensors"))
    first = next(key for key, value in state.items() if value.ndim == 4)
    ours = backbone.body.state_dict()[first]
    torch.testing.assert_close(ours, adapt_input_conv(1, state[first]))
    torch.testing.assert_close(ours, state[first].sum(1, keepdim=True))
    for key, value in backbone.body.state_dict().items():
        assert key == first or torch.equal(value, state[key])


@pytest.mark.parametrize("as_folder", [False, True])
def test_missing_weights_are_named(tmp_path, as_folder):
    path = tmp_path if as_folder else tmp_path / "gone.pth"
    message = r"test_resnet\.safetensors and .*test_resnet\.pth not found" if as_folder else r"gone\.pth not found"
    with pytest.raises(MissingFileError, match=message + "; attach the weights or set it to none"):
        make_backbone(TIMM, channels=3, weights=str(path))


def test_weights_of_another_network_are_refused(tmp_path, trained):
    path = save(trained[OTHER].state_dict(), tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"other\.pth: .* has shape .* the network wants"):
        make_backbone(TIMM, channels=3, weights=path)
    vit = timm.create_model("test_vit", num_classes=0).state_dict()
    with pytest.raises(ConfigError, match=r"lacks \d+ of the network's \d+ tensors, first conv1"):
        make_backbone(TIMM, channels=3, weights=save(vit, tmp_path / "vit.safetensors"))


def test_one_missing_tensor_is_enough_to_be_refused(tmp_path, trained):
    state = trained[TIMM].state_dict()
    name = next(name for name in state if name.startswith("layer3") and name.endswith("running_var"))
    del state[name]
    with pytest.raises(ConfigError, match=rf"lacks 1 of .*, first {name}"):
        make_backbone(TIMM, channels=3, weights=save(state, tmp_path / "w.pth"))


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path, trained):
    canary = tmp_path / "ran"
    path = tmp_path / "w.pth"
    torch.save(trained[TIMM].state_dict() | {"extra": Harmful(str(canary))}, path)
    with pytest.raises(ConfigError, match=r"w\.pth is no weights file \(UnpicklingError: [Ww]eights.only"):
        make_backbone(TIMM, channels=3, weights=str(path))
    assert not canary.exists()
    torch.load(path, weights_only=False)["extra"].close()
    assert canary.exists()  # it would have run


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_broken_weights_file_is_named(tmp_path, suffix):
    (tmp_path / f"w.{suffix}").write_bytes(b"broken")
    with pytest.raises(ConfigError, match=rf"w\.{suffix} is no weights file"):
        make_backbone(TIMM, channels=3, weights=str(tmp_path / f"w.{suffix}"))


@pytest.mark.parametrize("name", [TIMM, OTHER])
def test_depths_are_the_stages_of_a_resnet(name):
    backbone = make_backbone(name, channels=1)
    depths = backbone.depth_of()
    assert depths.keys() == dict(backbone.named_parameters()).keys()
    for parameter, depth in depths.items():
        block = parameter.split(".")[1]
        assert depth == (int(block[5:]) if block.startswith("layer") else 0), parameter
    assert set(depths.values()) == {0, 1, 2, 3, 4}
