"""Parameter groups, frozen layers, and the optimizer's memory."""

import pytest
import torch
from torch import nn

from imettk.config import StagePlan
from imettk.training.optimizer import freeze, load_optimizer_tensors, make_optimizer, optimizer_tensors, set_lr

GROUPS = [["0.weight", "0.bias", "1.weight", "1.bias"], ["2.weight", "2.bias"]]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)).to(
        memory_format=torch.channels_last
    )


def test_norms_and_biases_do_not_decay_and_each_group_has_its_rate():
    net = network()
    optimizer = make_optimizer(net, GROUPS, StagePlan(lr=(0.1, 0.5), weight_decay=0.3))
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
    optimizer = make_optimizer(net, GROUPS, StagePlan(lr=(0.1, 0.5), frozen_groups=1))
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
    assert freeze(net, GROUPS, 0) == []
    assert all(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_memory_taken_and_given_back_continues_as_if_nothing_had_happened(name):
    """Channels-last weights and moments that come back contiguous: a fused optimizer would mix them up."""
    plan = StagePlan(optimizer=name, lr=(0.01,))
    inputs = torch.rand(4, 2, 9, 9).to(memory_format=torch.channels_last)

    def steps(net: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            net(inputs).square().mean().backward()
            optimizer.step()

    whole = network()
    optimizer = make_optimizer(whole, GROUPS, plan)
    steps(whole, optimizer, 5)

    half = network()
    first = make_optimizer(half, GROUPS, plan)
    steps(half, first, 3)
    saved = {key: value.clone(memory_format=torch.contiguous_format) for key, value in optimizer_tensors(first).items()}
    weights = {key: value.clone(memory_format=torch.contiguous_format) for key, value in half.state_dict().items()}
    resumed = network()
    resumed.load_state_dict(weights)
    second = make_optimizer(resumed, GROUPS, plan)
    load_optimizer_tensors(second, saved)
    steps(resumed, second, 2)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
