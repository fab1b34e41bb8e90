"""Anyone's weights load into a network, under any prefix, for any grid and number of channels."""

import argparse
import re
import warnings

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from timm.models import adapt_input_conv

from imettk.errors import ConfigError
from imettk.models.backbones import make_backbone
from imettk.models.fit_weights import adapt_channels, find_fits, guess_network, load_weights, resample_grid

TIMM, OTHER, VIT = "timm:test_resnet", "pretrainedmodels:resnet18", "timm:test_vit"


def images_of(channels, size=64):
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def trained():
    """Return whole networks with random weights, including the classifier."""
    import pretrainedmodels

    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pretrainedmodels still passes torchvision's old `pretrained`
        other = pretrainedmodels.resnet18(num_classes=1000, pretrained=None)
    networks = {TIMM: timm.create_model("test_resnet", num_classes=10), OTHER: other}
    return networks | {VIT: timm.create_model("test_vit", num_classes=10)}


def save(state, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({name: value.contiguous().clone() for name, value in state.items()}, path)
    else:
        torch.save(state, path)
    return str(path)


def shifted(state, by):
    return {name: value + by if value.is_floating_point() else value for name, value in state.items()}


def under(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


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


CONTAINERS = [
    "state_dict",
    "model",
    "model_state",
    "model_state_dict",
    "net",
    "teacher",
    "student",
    "network",
    "weights",
]
PREFIXES = [
    "module.",
    "_orig_mod.",
    "model.",
    "backbone.",
    "encoder.",
    "net.",
    "module.model.",
    "model._orig_mod.module.",
]


@pytest.mark.parametrize("name", [TIMM, VIT, OTHER])
@pytest.mark.parametrize(
    "form",
    [
        *(lambda state, key=key: {key: state, "epoch": 3, "arch": "x"} for key in CONTAINERS),
        *(lambda state, prefix=prefix: under(prefix, state) for prefix in PREFIXES),
        lambda state: {"state_dict": under("model.backbone.", state), "hyper_parameters": {"lr": 0.1}},
        lambda state: {"model": under("module.", state), "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}},
        lambda state: {"checkpoint": {"params": {"net": under("trunk.", state)}}},
        lambda state: under("backbone.", state) | {"head.weight": torch.zeros(5, 96), "neck.fc.bias": torch.zeros(5)},
    ],
)
def test_weights_are_found_in_what_others_save(tmp_path, trained, name, form):
    state = trained[name].state_dict()
    backbone = make_backbone(name, channels=3, weights=save(form(state), tmp_path / "w.pth"))
    assert all(torch.equal(value, state[key]) for key, value in backbone.body.state_dict().items())


@pytest.mark.parametrize("ema", ["state_dict_ema", "model_ema", "ema_state_dict", "ema", "teacher", "ema.module"])
def test_of_several_weights_the_averaged_ones_count_and_it_is_said(tmp_path, trained, capsys, ema):
    state = trained[VIT].state_dict()
    saved = {"epoch": 7, "best": np.float64(0.5), "args": argparse.Namespace(lr=1.0), "model": shifted(state, 1)}
    outer, _, inner = ema.partition(".")
    saved[outer] = {inner: state} if inner else state
    backbone = make_backbone(VIT, channels=3, weights=save(saved, tmp_path / "last.pth.tar"))
    assert torch.equal(backbone.body.state_dict()["cls_token"], state["cls_token"])
    line = capsys.readouterr().out
    assert f"78 tensors, whose names begin with `{ema}.`; `model.` would fit too; " in line
    assert "ignored: 82 tensors and epoch, best, args\n" in line and line.count("\n") == 1


def test_weights_that_lie_bare_count_before_others_in_the_file(tmp_path, trained):
    """Unprefixed weights win, as in earlier versions, which looked for nothing else."""
    state = trained[TIMM].state_dict()
    path = save(state | under("ema.", shifted(state, 1)), tmp_path / "w.safetensors")
    backbone = make_backbone(TIMM, channels=3, weights=path)
    assert all(torch.equal(value, state[key]) for key, value in backbone.body.state_dict().items())


def test_a_part_that_fits_counts_before_one_that_does_not(tmp_path, trained):
    other = timm.create_model("test_vit2", num_classes=10).state_dict()
    saved = {"teacher": other, "student": trained[VIT].state_dict()}
    backbone = make_backbone(VIT, channels=3, weights=save(saved, tmp_path / "w.pth"))
    assert torch.equal(backbone.body.state_dict()["cls_token"], saved["student"]["cls_token"])


def theirs(model, state, **options):
    """Return the network with these weights loaded by timm itself."""
    overlay = {"state_dict": {name: value.clone() for name, value in state.items()}, "num_classes": 10}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of how timm indexes
        return timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, **options)


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("test_vit", (96, 96)),
        ("test_vit", (64, 256)),  # as many patches as its own grid has, in another form
        ("deit3_small_patch16_224", (160, 160)),
        ("swin_tiny_patch4_window7_224", (192, 192)),
        ("eva02_tiny_patch14_224", (168, 168)),
        ("maxvit_tiny_rw_224", (192, 192)),
        ("xcit_nano_12_p16_224", (160, 160)),
    ],
)
def test_another_grid_is_resampled_as_timm_does(model, size):
    torch.manual_seed(0)
    body = timm.create_model(model, num_classes=0, img_size=size)
    state = timm.create_model(model, num_classes=10).state_dict()
    (fit,) = [fit for fit in find_fits(state, body) if fit.prefix == ""]
    assert not fit.missing and fit.filtered
    expected = theirs(model, state, img_size=size).state_dict()
    assert all(torch.equal(fit.taken[name], value) for name, value in expected.items() if name in fit.taken)
    assert not expected.keys() - fit.taken.keys()


def test_layers_that_earlier_versions_called_otherwise_are_converted_as_timm_does(tmp_path):
    """DeiT III, and ConvNeXt by its own authors, use other names."""
    deit = timm.create_model("deit3_small_patch16_224", num_classes=10).state_dict()
    old = {re.sub(r"ls(\d)\.gamma", r"gamma_\1", name): value for name, value in deit.items()}
    assert old.keys() != deit.keys()
    backbone = make_backbone(
        "timm:deit3_small_patch16_224", channels=3, weights=save({"model": old}, tmp_path / "d.pth")
    )
    assert all(torch.equal(value, deit[name]) for name, value in backbone.body.state_dict().items())
    state = timm.create_model("convnext_atto", num_classes=10).state_dict()
    authors = {}
    for name, value in state.items():
        name = re.sub(r"^stem\.(\d)", r"downsample_layers.0.\1", name).replace("head.norm.", "norm.")
        name = re.sub(r"stages\.(\d)\.downsample\.(\d)", r"downsample_layers.\1.\2", name)
        name = re.sub(r"stages\.(\d)\.blocks\.(\d+)", r"stages.\1.\2", name).replace("head.fc.", "head.")
        authors[name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")] = value
    path = save({"model": authors}, tmp_path / "c.pth")
    backbone = make_backbone("timm:convnext_atto", channels=3, weights=path)
    assert all(torch.equal(value, state[name]) for name, value in backbone.body.state_dict().items())


def test_grids_that_timm_leaves_alone_are_resampled_too():
    """A constant stays constant, a slope stays a slope, and class tokens stay unchanged."""
    down = torch.arange(8.0).repeat_interleave(8)
    value = torch.stack([torch.full((64,), 3.0), down], 1)[None]
    positions = torch.zeros(1, 16, 2)
    resampled = resample_grid("pos_embed", value, positions)
    assert resampled.shape == positions.shape
    torch.testing.assert_close(resampled[0, :, 0], torch.full((16,), 3.0))
    rows = resampled[0, :, 1].reshape(4, 4)
    torch.testing.assert_close(rows, rows[:, :1].expand(4, 4))
    assert (rows.diff(dim=0) > 1.5).all() and rows.mean() == pytest.approx(3.5, abs=1e-4)
    tokens = torch.cat([torch.full((1, 1, 2), 9.0), value], 1)
    behind = resample_grid("pos_embed", tokens, torch.zeros(1, 17, 2))
    assert (behind[0, 0] == 9).all() and torch.equal(behind[:, 1:], resampled)
    grid = value.reshape(1, 8, 8, 2)
    torch.testing.assert_close(resample_grid("pos_embed", grid, torch.zeros(1, 4, 4, 2)).reshape(1, 16, 2), resampled)
    first = resample_grid("pos_embed1", grid.permute(0, 3, 1, 2), torch.zeros(1, 2, 4, 4))
    torch.testing.assert_close(first.permute(0, 2, 3, 1).reshape(1, 16, 2), resampled)
    for name, other in [
        ("blocks.0.weight", positions),
        ("pos_embed", torch.zeros(1, 15, 2)),
        ("pos_embed", torch.zeros(1, 16, 3)),
    ]:
        assert resample_grid(name, value, other) is value


@pytest.mark.parametrize("model", ["cait_xxs24_224", "visformer_tiny", "nest_tiny", "hiera_tiny_224", "gcvit_xxtiny"])
def test_families_without_a_filter_for_it_take_weights_of_another_size(model):
    size = 192 if model in ("nest_tiny", "hiera_tiny_224", "gcvit_xxtiny") else 160
    state = timm.create_model(model, num_classes=10).state_dict()
    (fit,) = [fit for fit in find_fits(state, timm.create_model(model, num_classes=0, img_size=size)) if not fit.prefix]
    assert not fit.missing


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("name", [TIMM, OTHER])
def test_other_channels_are_made_of_the_three_as_timm_does(tmp_path, trained, name, channels):
    state = trained[name].state_dict()
    backbone = make_backbone(name, channels=channels, weights=save(state, tmp_path / "w.safetensors"))
    first = next(key for key, value in state.items() if value.ndim == 4)
    ours = backbone.body.state_dict()[first]
    torch.testing.assert_close(ours, adapt_input_conv(channels, state[first]))
    if channels == 1:
        torch.testing.assert_close(ours, state[first].sum(1, keepdim=True))
    for key, value in backbone.body.state_dict().items():
        assert key == first or torch.equal(value, state[key])


def test_weights_of_grey_images_give_the_same_for_grey_images_of_three_channels(tmp_path):
    torch.manual_seed(0)
    grey = timm.create_model("test_resnet", in_chans=1, num_classes=0).eval()
    path = save(grey.state_dict(), tmp_path / "w.safetensors")
    colour = make_backbone(TIMM, channels=3, weights=path).eval()
    images = images_of(1)
    with torch.no_grad():
        torch.testing.assert_close(colour(images.expand(-1, 3, -1, -1)), grey(images), rtol=1e-4, atol=1e-4)
    assert adapt_channels(torch.zeros(8, 2, 3, 3), torch.zeros(8, 5, 3, 3)).shape == (8, 2, 3, 3)  # nobody knows how


def misfit(state, name, path):
    with pytest.raises(ConfigError) as error:
        make_backbone(name, channels=3, weights=save(state, path))
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), path.name)


def test_weights_of_another_network_are_refused_with_what_the_file_holds(tmp_path, trained):
    assert misfit(trained[OTHER].state_dict(), VIT, tmp_path / "w.pth") == (
        "`model.weights`: w.pth does not fit test_vit: 78 of its 78 tensors are missing, first cls_token; the file "
        "holds 122 tensors (conv1.weight, bn1.weight, ...): of another network?"
    )
    message = misfit({"arch": "resnet18", "state_dict": trained[OTHER].state_dict()}, VIT, tmp_path / "w.pth")
    assert message.endswith("and names their network: resnet18")
    state = trained[TIMM].state_dict()
    name = next(name for name in state if name.startswith("layer3") and name.endswith("running_var"))
    del state[name]
    message = misfit({"state_dict": under("module.", state)}, TIMM, tmp_path / "w.pth")
    assert message.startswith(
        "`model.weights`: w.pth does not fit test_resnet: keys begin with `state_dict.module.`; 1 of its 90 tensors "
        f"are missing, first {name}; the file holds 91 tensors (state_dict.module."
    )
    assert message.endswith(": is the file whole?")


def test_weights_of_a_relative_are_told_by_their_shapes(tmp_path):
    state = timm.create_model("vit_small_patch16_224", num_classes=10).state_dict()
    assert misfit({"model": state}, "timm:vit_tiny_patch16_224", tmp_path / "w.pth") == (
        "`model.weights`: w.pth does not fit vit_tiny_patch16_224: keys begin with `model.`; 150 tensors have other "
        "shapes, first cls_token: (1, 1, 384), and (1, 1, 192) in the network; the file holds 152 tensors "
        "(model.cls_token, model.pos_embed, ...): of timm:vit_small_patch16_224?"
    )
    assert guess_network(state, torch.nn.Linear(2, 2)) is None


def test_weights_that_are_not_finite_are_refused(tmp_path, trained):
    state = dict(trained[TIMM].state_dict())
    state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"] * float("nan")
    message = misfit(state, TIMM, tmp_path / "w.safetensors")
    assert message.endswith("w.safetensors is damaged: its tensor layer1.0.conv1.weight is not finite")


def test_nothing_is_passed_over_without_a_count(tmp_path, trained):
    state = trained[TIMM].state_dict()
    path = tmp_path / "w.safetensors"
    save(state, path)
    body = make_backbone(TIMM, channels=3).body
    rest = len(state) - len(body.state_dict())
    assert rest == 2  # the classifier
    line = load_weights(body, path, "test_resnet")
    assert line == f"weights of {path}: {len(body.state_dict())} tensors; ignored: 2 tensors"
