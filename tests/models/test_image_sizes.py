"""Sizes that fit are found without computing values; messages about others suggest sizes that do."""

import copy

import pytest
import timm
import torch
from torch import nn

from imettk.models.image_sizes import SizeMisfit, misfit_message, nearest_sizes, run_on_shapes, to_meta


def test_shapes_are_those_of_a_real_run_and_nothing_is_changed():
    network = timm.create_model("test_efficientnet", num_classes=7).train()
    network.blocks[0].eval()
    state, modes = copy.deepcopy(network.state_dict()), [module.training for module in network.modules()]
    random = torch.get_rng_state()
    shape = run_on_shapes(lambda net, images: net(images).shape, network, channels=3, size=(40, 56))
    with torch.no_grad():
        assert shape == copy.deepcopy(network).eval()(torch.zeros(1, 3, 40, 56)).shape == (1, 7)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)


class LooksAtValues(nn.Module):
    """A network that branches on a value: `item` fails without values."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 3)

    def forward(self, images):
        return self.layer(images) if self.layer(images).mean().item() < 1e9 else images


def test_a_network_that_looks_at_values_is_run():
    assert run_on_shapes(lambda net, images: net(images).shape, LooksAtValues(), channels=1, size=(8, 9)) == (
        1,
        2,
        6,
        7,
    )
    with pytest.raises(SizeMisfit, match="Kernel size can't be greater"):
        run_on_shapes(lambda net, images: net(images), LooksAtValues(), channels=1, size=(2, 9))
    with pytest.raises(SizeMisfit, match="meta"):  # it has none to look at
        run_on_shapes(lambda net, images: net(images), to_meta(LooksAtValues()), channels=1, size=(8, 9))


@pytest.mark.parametrize("size", [(100, 100), (96, 100), (300, 210), (17, 17), (225, 449)])
@pytest.mark.parametrize("patch", [4, 8, 14, 16, 32])
def test_the_nearest_sizes_are_the_nearest_multiples(size, patch):
    def takes(other):
        return all(side % patch == 0 for side in other)

    if takes(size):
        return  # it fits
    below = tuple(max(side for side in range(0, side + 1) if side % patch == 0) for side in size)
    above = tuple(min(side for side in range(side, side + patch) if side % patch == 0) for side in size)
    assert nearest_sizes(size, takes) == [nearest for nearest in (below, above) if min(nearest) >= 8]


def test_for_networks_of_squares_they_are_squares():
    assert nearest_sizes((100, 40), lambda size: size[0] == size[1] and size[0] % 16 == 0) == [(32, 32), (112, 112)]
    assert nearest_sizes((100, 70), lambda size: size == (224, 224)) == [(224, 224)]
    assert nearest_sizes((100, 70), lambda size: False) == []


def test_the_line_names_field_network_reason_and_sizes():
    def takes(size):
        return size[0] % 16 == 0 == size[1] % 16

    line = misfit_message("images.image_size", "timm:vit", (90, 100), SizeMisfit("no"), takes)
    assert line == "`images.image_size`: timm:vit does not take 90 x 100 (no); it takes 80 x 96 and 96 x 112"
    line = misfit_message(
        "stages.0.image_size", "timm:vit", (90, 100), SizeMisfit("no"), lambda size: False, known=(9, 8)
    )
    assert line.endswith("(no); it takes 9 x 8")
    assert misfit_message("a", "b", (9, 9), SizeMisfit("no"), lambda size: False).endswith("; none near it fits")
