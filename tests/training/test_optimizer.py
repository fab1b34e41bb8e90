"""Parameter groups, frozen layers, and the optimizer's memory."""

import json

import pytest
import timm.optim
import torch
from torch import nn

from imettk.config import StageConfig
from imettk.errors import ConfigError
from imettk.models.network import Network
from imettk.training.optimizer import freeze, load_optimizer_state, make_optimizer, optimizer_state, peak_rates, set_lr

GROUPS = [["0.weight", "0.bias", "1.weight", "1.bias"], ["2.weight", "2.bias"]]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)).to(
        memory_format=torch.channels_last
    )


def test_norms_and_biases_do_not_decay_and_each_group_has_its_rate():
    net = network()
    optimizer = make_optimizer(net, GROUPS, StageConfig(lr=(0.1, 0.5), weight_decay=0.3))
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    seen = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert seen == {
        "0.weight": (0.1, 0.3), "0.bias": (0.1, 0.0), "1.weight": (0.1, 0.0), "1.bias": (0.1, 0.0),
        "2.weight": (0.5, 0.3), "2.bias": (0.5, 0.0),
    }  # fmt: skip
    set_lr(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.05, 0.25}


def test_frozen_groups_learn_nothing_and_their_norms_rest():
    net = network()
    resting = freeze(net, GROUPS, 1)
    assert resting == [net[1]]
    assert [name for name, parameter in net.named_parameters() if parameter.requires_grad] == GROUPS[1]
    optimizer = make_optimizer(net, GROUPS, StageConfig(lr=(0.1, 0.5), frozen_groups=1))
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
    assert freeze(net, GROUPS, 0) == []
    assert all(parameter.requires_grad for parameter in net.parameters())


CPU_OPTIMIZERS = [
    name for name in timm.optim.list_optimizers()
    if not name.startswith(("bnb", "fused", "kron")) and name != "adahessian"
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # timm's own
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", *(f"timm:{name}" for name in CPU_OPTIMIZERS)])
def test_memory_taken_and_given_back_continues_as_if_nothing_had_happened(name):
    """Channels-last weights and moments that come back contiguous: a fused optimizer would mix them up.

    Some of timm's keep plain numbers, or a count in their parameter groups: they go through JSON.
    """
    config = StageConfig(optimizer=name, lr=(0.01,))
    inputs = torch.rand(4, 2, 9, 9).to(memory_format=torch.channels_last)

    def steps(net: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            net(inputs).square().mean().backward()
            optimizer.step()

    whole = network()
    optimizer = make_optimizer(whole, GROUPS, config)
    steps(whole, optimizer, 5)

    half = network()
    first = make_optimizer(half, GROUPS, config)
    steps(half, first, 3)
    tensors, plain = optimizer_state(first)
    saved = {key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    weights = {key: value.clone(memory_format=torch.contiguous_format) for key, value in half.state_dict().items()}
    resumed = network()
    resumed.load_state_dict(weights)
    second = make_optimizer(resumed, GROUPS, config)
    load_optimizer_state(second, saved, json.loads(json.dumps(plain)))
    steps(resumed, second, 2)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@pytest.mark.parametrize("name, guess", [("adamv", "adam"), ("kron", None), ("adahessian", "adafactor")])
def test_an_optimizer_that_timm_has_not_or_that_cannot_resume_is_refused(name, guess):
    with pytest.raises(ConfigError, match=f"timm:{name} is not among"):
        make_optimizer(network(), GROUPS, StageConfig(optimizer=f"timm:{name}"))


def test_layer_decay_is_timms():
    """timm scales by layer_decay ** (depth from the head); its groups of a ViT are the blocks, ours too."""
    net = Network(backbone="timm:test_vit", num_classes=3, mean=(0.5,) * 3, std=(0.2,) * 3)
    config = StageConfig(lr=(0.1,), layer_decay=0.5)
    groups = net.layer_groups(2)
    rates = peak_rates(config, len(groups))
    assert rates == (0.025, 0.05, 0.1)
    optimizer = make_optimizer(net, groups, config)
    by_parameter = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    for names, rate in zip(groups, rates, strict=True):
        assert {by_parameter[id(net.get_parameter(name))] for name in names} == {rate}


def test_a_first_step_that_overflows_leaves_no_bare_memory_in_the_momentum():
    """Fused SGD makes its momentum from uninitialised memory, and keeps that where float16's scale overflows."""
    config = StageConfig(optimizer="sgd", lr=(0.1,), weight_decay=0.0)
    one, other = nn.Linear(64, 64), nn.Linear(64, 64)
    other.load_state_dict(one.state_dict())
    ours = make_optimizer(one, [["weight", "bias"]], config)
    torchs = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step in range(4):
        images = torch.rand(8, 64)
        for network, optimizer in ((one, ours), (other, torchs)):
            optimizer.zero_grad()
            loss = network(images).square().mean() * (torch.inf if step == 0 else 1)
            if optimizer is ours:
                scaler.scale(loss).backward()
                scaler.step(ours)
                scaler.update()
            elif step > 0:
                loss.backward()
                optimizer.step()
    torch.testing.assert_close(one.weight, other.weight)
