"""Parameter groups, and the optimizer's memory."""

import json

import pytest
import timm.optim
import torch
from torch import nn
from training_faults import same, weights

from imettk.config import StageConfig
from imettk.errors import ConfigError, MismatchError
from imettk.models.network import Network
from imettk.training.optimizer import load_optimizer_state, make_optimizer, optimizer_state, peak_rates, set_lr

GROUPS = [["0.weight", "0.bias", "1.weight", "1.bias"], ["2.weight", "2.bias", "4.weight", "4.bias"]]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(100, 5)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


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
        "2.weight": (0.5, 0.3), "2.bias": (0.5, 0.0), "4.weight": (0.5, 0.3), "4.bias": (0.5, 0.0),
    }  # fmt: skip
    set_lr(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.05, 0.25}


CPU_OPTIMIZERS = [
    name for name in timm.optim.list_optimizers()
    if not name.startswith(("bnb", "fused", "kron")) and name != "adahessian"
]  # fmt: skip


INPUTS = torch.rand(4, 2, 9, 9, generator=torch.Generator().manual_seed(2)).to(memory_format=torch.channels_last)


def take_steps(net: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        set_lr(optimizer, (0.1, 1.0, 0.5, 0.25)[step % 4])
        optimizer.zero_grad()
        net(INPUTS).square().mean().backward()
        optimizer.step()


@pytest.mark.filterwarnings("ignore")  # timm's own
@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", *(f"timm:{name}" for name in CPU_OPTIMIZERS)])
def test_memory_taken_and_given_back_continues_as_if_nothing_had_happened(name, lookahead):
    """Channels-last weights and moments that come back contiguous: a fused optimizer would mix them up.

    Some of timm's keep plain numbers, or a count in their parameter groups: they go through JSON.
    """
    config = StageConfig(optimizer=name, lr=(0.01, 0.02), lookahead=lookahead)
    whole = network()
    optimizer = make_optimizer(whole, GROUPS, config)
    take_steps(whole, optimizer, 0, 6)

    half = network()
    first = make_optimizer(half, GROUPS, config)
    take_steps(half, first, 0, 3)
    tensors, plain = optimizer_state(first)
    saved = {key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    weights = {key: value.clone(memory_format=torch.contiguous_format) for key, value in half.state_dict().items()}
    resumed = network()
    resumed.load_state_dict(weights)
    second = make_optimizer(resumed, GROUPS, config)
    load_optimizer_state(second, saved, json.loads(json.dumps(plain)))
    take_steps(resumed, second, 3, 6)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@pytest.mark.parametrize("name, guess", [("adamv", "adam"), ("lookahead_adam", None)])
def test_an_optimizer_that_timm_has_not_is_refused(name, guess):
    with pytest.raises(ConfigError, match=f"timm:{name} is not among.*{guess or ''}"):
        make_optimizer(network(), GROUPS, StageConfig(optimizer=f"timm:{name}"))


def test_an_optimizer_that_cannot_be_made_here_is_refused():
    with pytest.raises(ConfigError, match=r"timm:adamc cannot be made here: .*positive max lr"):
        make_optimizer(network(), GROUPS, StageConfig(optimizer="timm:adamc", lr=(0.0,)))


@pytest.mark.parametrize("name", ["muon", "nmuon", "adamuon", "adopt", "adamc"])
def test_our_groups_are_what_timm_makes_of_a_network(name):
    """Muon takes matrices and kernels, and AdamW norms, biases and whatever is too narrow for it."""
    ours, theirs = network(), network()
    config = StageConfig(optimizer=f"timm:{name}", lr=(0.01,), weight_decay=0.3)
    take_steps(ours, make_optimizer(ours, GROUPS, config), 0, 4)
    optimizer = timm.optim.create_optimizer_v2(theirs, opt=name, lr=0.01, weight_decay=0.3)
    for group in optimizer.param_groups:
        group["peak_lr"] = 0.01
    take_steps(theirs, optimizer, 0, 4)
    for key, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[key]), key


def test_corrected_decay_is_measured_against_the_highest_rate():
    """timm's `c` variants decay by lr ** 2 / max_lr; the first group's low rate would let the head decay too fast."""
    config = StageConfig(optimizer="timm:adamc", lr=(0.1,), layer_decay=0.1)
    optimizer = make_optimizer(network(), GROUPS, config)
    assert {group["peak_lr"] for group in optimizer.param_groups} == {0.1 * 0.1, 0.1}
    assert {group["max_lr_snapshot"] for group in optimizer.param_groups} == {0.1}


def test_lookahead_moves_slow_weights_half_way_to_the_fast_ones():
    """As arXiv 1907.08610, alg. 1, has it, with slow weights that begin at the first synchronisation, as in timm."""
    net, plain = network(), network()
    take_steps(net, make_optimizer(net, GROUPS, StageConfig(optimizer="sgd", lr=(0.05,), lookahead=2)), 0, 7)
    fast = make_optimizer(plain, GROUPS, StageConfig(optimizer="sgd", lr=(0.05,)))
    slow: dict[str, torch.Tensor] = {}
    for step in range(7):
        take_steps(plain, fast, step, step + 1)
        if step % 2:
            for name, weight in plain.named_parameters():
                before = slow.get(name, weight.detach())
                slow[name] = before + 0.5 * (weight.detach() - before)
                weight.data.copy_(slow[name])
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(net.get_parameter(name), weight)


KILLED = {
    "muon and warm restarts": {"optimizer": "timm:muon", "num_cycles": 3, "cycle_decay": 0.5},
    "adopt": {"optimizer": "timm:adopt", "layer_decay": 0.5},
    "lookahead over a fused optimizer": {"lookahead": 3, "clip_norm": 0.1},
    "lookahead with frozen layers": {"optimizer": "sgd", "lookahead": 3, "frozen_groups": 1},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
@pytest.mark.parametrize("technique", KILLED)
def test_a_run_in_three_sessions_ends_with_the_bits_of_one(make_trainer, technique, dtype):
    stages = (StageConfig(**{"num_epochs": 4, "batch_size": 8, "lr": (0.02,), **KILLED[technique]}),)
    whole = make_trainer("whole", stages=stages, dtype=dtype)
    whole.fit()
    for limit in (4, 3, None):
        parts = make_trainer("parts", stages=stages, dtype=dtype, limit_steps=limit)
        parts.fit()
    assert parts.at.step == whole.at.step == 12
    assert same(weights(whole), weights(parts))


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


@pytest.mark.parametrize(("lr", "is_refused"), [((0.1, 0.5), True), ((0.1,), False)])
def test_an_earlier_training_with_a_wrong_corrected_decay_is_refused(lr, is_refused):
    net = network()
    optimizer = make_optimizer(net, GROUPS, StageConfig(lr=lr, optimizer="timm:adamc"))
    net(INPUTS).sum().backward()
    optimizer.step()
    tensors, plain = optimizer_state(optimizer)
    load_optimizer_state(optimizer, tensors, plain)
    del plain["lookahead_steps"]  # as earlier versions wrote it
    if is_refused:
        with pytest.raises(MismatchError, match="of an earlier version, which measured the corrected weight decay"):
            load_optimizer_state(optimizer, tensors, plain)
    else:
        load_optimizer_state(optimizer, tensors, plain)
