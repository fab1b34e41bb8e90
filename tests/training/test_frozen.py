"""Frozen layers, and BatchNorm that rests in a stage or in its frozen groups."""

from __future__ import annotations

import pytest
import torch
from small_bodies import Pixels, SmallNetwork
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from imettk.config import StageConfig
from imettk.training.frozen import batch_norms, freeze, learning_names, least_samples
from imettk.training.optimizer import make_optimizer

GROUPS = [["0.weight", "0.bias", "1.weight", "1.bias"], ["2.weight", "2.bias"]]
FROZEN = StageConfig(lr=(0.02,), freeze_batchnorm=True)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3))


def test_frozen_groups_learn_nothing_and_their_norms_rest():
    net, config = network(), StageConfig(lr=(0.1, 0.5), frozen_groups=1)
    assert list(freeze(net, GROUPS, config).values()) == [net[1]] and least_samples(net, GROUPS, config) == 1
    assert [name for name, parameter in net.named_parameters() if parameter.requires_grad] == GROUPS[1]
    optimizer = make_optimizer(net, GROUPS, config)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
    assert list(freeze(net, GROUPS, StageConfig()).values()) == [] and least_samples(net, GROUPS, StageConfig()) == 2
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_frozen_batchnorm_of_the_backbone_learns_nothing_and_the_rest_does():
    net = network()
    assert list(freeze(net, GROUPS, FROZEN).values()) == [net[1]] and least_samples(net, GROUPS, FROZEN) == 1
    assert learning_names(net, GROUPS, FROZEN) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    taken = {id(value) for group in make_optimizer(net, GROUPS, FROZEN).param_groups for value in group["params"]}
    assert taken == {id(value) for value in (*net[0].parameters(), *net[2].parameters())}


@pytest.mark.parametrize("affine", [True, False])
def test_batchnorm_of_a_head_learns_all_the_same(affine):
    """Its statistics are nobody's yet: frozen, they would stay those of a new layer."""
    net = nn.ModuleDict({"backbone": nn.BatchNorm1d(3, affine=affine), "head": nn.BatchNorm1d(3, affine=affine)})
    groups = [[f"{part}.{name}" for name in ("weight", "bias") if affine] for part in ("backbone", "head")]
    # With a group of each block, what the backbone has behind the last one goes with the head.
    groups = [[], [*groups[0], *groups[1], "head.other"]]
    assert list(freeze(net, groups, FROZEN).values()) == [net["backbone"]] and least_samples(net, groups, FROZEN) == 2
    assert list(freeze(net, groups, StageConfig()).values()) == []


def test_frozen_batchnorm_trains_as_torchvisions_does_and_takes_single_samples(make_trainer):
    stages = (
        StageConfig(num_epochs=0.5, batch_size=2, accumulate=2, optimizer="sgd", lr=(0.02,), freeze_batchnorm=True),
    )
    ours, theirs = (SmallNetwork(model_name="test_resnet") for _ in range(2))
    for norm in batch_norms(ours).values():  # as if pretrained
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    theirs.load_state_dict(before)
    groups = ours.groups()
    for place, norm in batch_norms(theirs).items():
        parent, _, leaf = place.rpartition(".")
        frozen = FrozenBatchNorm2d(norm.num_features, norm.eps)
        frozen.load_state_dict(norm.state_dict())
        setattr(theirs.get_submodule(parent), leaf, frozen)
        groups[0] = [name for name in groups[0] if name.rpartition(".")[0] != place]
    make_trainer("ours", network=ours, layer_groups=ours.groups(), stages=stages, dataset=Pixels()).fit()
    make_trainer("theirs", network=theirs, layer_groups=groups, stages=stages, dataset=Pixels()).fit()
    after = ours.state_dict()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(after[name], value, rtol=1e-4, atol=1e-5)
    norms = {f"{place}.{name}" for place, norm in batch_norms(ours).items() for name in norm.state_dict()}
    assert {name for name in after if torch.equal(after[name], before[name])} == norms
