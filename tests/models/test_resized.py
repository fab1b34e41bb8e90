"""A network at another size: positions as timm resamples them, and their training."""

import copy

import pytest
import timm
import torch
from tiny_swin import register_tiny_swin
from torch.nn import functional

from imettk.models.image_sizes import SizeMisfit
from imettk.models.resized import Resized, require_whole_patches, set_size
from imettk.models.timm_backbone import TimmBackbone

TINY_SWIN = register_tiny_swin()
# Name -> size that it is made for, and another one. Of the pretraining's none: positions of odd grids, and not square.
NETWORKS = {
    "vit_tiny_patch16_224": ((64, 96), (96, 64)),
    "eva02_tiny_patch14_224": ((56, 56), (84, 56)),
    "test_vit_relpos": ((64, 64), (96, 80)),
    "test_maxvit": ((64, 64), (96, 96)),
    "test_coatnet": ((64, 64), (96, 64)),
    "swinv2_cr_tiny_224": ((64, 64), (96, 64)),
    TINY_SWIN: ((64, 64), (96, 128)),
}


def images_of(size, rows=2):
    return torch.randn(rows, 3, *size, generator=torch.Generator().manual_seed(0))


def make(name, size):
    """Return a network whose positions are large enough that resampling shows."""
    torch.manual_seed(0)
    backbone = TimmBackbone(name, channels=3, size=size)
    with torch.no_grad():
        for parameter_name, parameter in backbone.named_parameters():
            if "pos_embed" in parameter_name or "bias_table" in parameter_name:
                parameter.normal_()
    return backbone.eval()


@pytest.mark.filterwarnings("ignore")  # torch remarks on how timm resamples tables
@pytest.mark.parametrize("name", NETWORKS)
def test_it_gives_what_a_network_gives_that_timm_tells_the_size_once(name):
    size, other = NETWORKS[name]
    backbone = make(name, size)
    theirs = copy.deepcopy(backbone.body)
    theirs.set_input_size(other)
    state, images = {key: value.clone() for key, value in backbone.state_dict().items()}, images_of(size)
    with torch.no_grad():
        before, ours, expected = backbone(images), backbone(images_of(other)), theirs(images_of(other))
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(backbone(images), before), "the original works as before"
    assert state.keys() == backbone.state_dict().keys(), "no other parameters"
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


def test_gradients_reach_the_positions_as_through_torchs_interpolation():
    backbone = make("vit_tiny_patch16_224", (64, 96))
    dynamic = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=(64, 96), dynamic_img_size=True).eval()
    dynamic.load_state_dict(backbone.body.state_dict())
    for network in (backbone, dynamic):
        network(images_of((96, 64))).square().sum().backward()
    for (name, ours), theirs in zip(backbone.body.named_parameters(), dynamic.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4, msg=name)
    assert backbone.body.pos_embed.grad.abs().max() > 0


def test_positions_that_are_resampled_learn():
    """One optimizer trains at two sizes: each step moves the same positions."""
    backbone = make(TINY_SWIN, (64, 64)).train()
    tables = [value for name, value in backbone.named_parameters() if name.endswith("bias_table")]
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    for size in ((128, 128), (64, 64), (128, 128)):
        before = [table.detach().clone() for table in tables]
        optimizer.zero_grad()
        backbone(images_of(size)).square().sum().backward()
        optimizer.step()
        assert all(not torch.equal(old, table) for old, table in zip(before, tables, strict=True)), size


def test_norms_rest_and_count_as_those_of_the_original():
    backbone = make("test_maxvit", (64, 64)).train()
    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    backbone(images_of((96, 96)))
    norms[0].eval()  # after the network of that size was made
    before = [(norm.running_mean.clone(), norm.num_batches_tracked.item()) for norm in norms]
    backbone(images_of((96, 96)))
    for norm, (mean, count) in zip(norms, before, strict=True):
        moves = norm is not norms[0]
        assert norm.num_batches_tracked.item() == count + moves
        assert torch.equal(norm.running_mean, mean) != moves


def test_a_copy_goes_on_with_weights_of_its_own():
    backbone = make(TINY_SWIN, (64, 64)).train()
    backbone(images_of((96, 96))).sum().backward()
    copied = copy.deepcopy(backbone)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
        assert copied(images_of((96, 96))).abs().max() == 0 and backbone(images_of((96, 96))).abs().max() > 0


def test_it_moves_with_the_original():
    backbone = make("vit_tiny_patch16_224", (64, 64))
    with torch.no_grad():
        backbone(images_of((96, 96)))
        backbone.to("meta")
        assert backbone(images_of((96, 96)).to("meta")).shape == (2, 192)


def test_in_lower_precision_positions_are_resampled_in_float32():
    body = make("vit_tiny_patch16_224", (64, 64)).body
    resized = Resized(body, 3, (96, 96))
    exact = resized.body().pos_embed.detach().clone()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resized.body().pos_embed, exact)
    grid = body.pos_embed.detach()[:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    expected = functional.interpolate(grid, (6, 6), mode="bicubic", antialias=True).flatten(2).mT
    torch.testing.assert_close(exact[:, 1:], expected, rtol=1e-4, atol=1e-5)


def test_a_size_that_cuts_patches_is_refused():
    body = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    with pytest.raises(SizeMisfit, match="its patches are 16 x 16 pixels"):
        set_size(body, 3, (96, 100))
    with pytest.raises(SizeMisfit, match="its patches are 16 x 16 pixels"):
        Resized(make("vit_tiny_patch16_224", (64, 64)).body, 3, (100, 96))
    with pytest.raises(SizeMisfit, match="its patches are 4 x 4 pixels"):
        require_whole_patches(torch.nn.Conv2d(3, 8, 4, 4), torch.zeros(1, 3, 10, 8))
    require_whole_patches(torch.nn.Conv2d(3, 8, 4, 2), torch.zeros(1, 3, 10, 8))
