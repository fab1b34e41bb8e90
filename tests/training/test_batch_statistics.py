"""BatchNorm's statistics, estimated anew: equal to torch's `update_bn` where that does what inference needs."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from imettk.config import StageConfig
from imettk.data.dataset import Batch
from imettk.training.batch_statistics import MOST_SAMPLES, estimate_statistics, learning_norms, num_steps
from imettk.training.process_group import Compute, ProcessGroup
from imettk.training.schedule import plan_spans

CPU = Compute(torch.device("cpu"), torch.float32)


def make_network(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4), nn.Dropout(dropout), nn.BatchNorm1d(4))
    layers(torch.randn(8, 3))  # statistics of a training
    return layers


def make_batches(count: int = 5) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    images = [3 + 2 * torch.randn(6, 3, generator=generator) for _ in range(count)]
    return [Batch(part, None, None, torch.arange(6), torch.arange(6)) for part in images]


def test_they_are_those_of_torch():
    ours, theirs = make_network(), make_network()
    assert estimate_statistics(ours, make_batches(), compute=CPU) is None
    update_bn((batch.images for batch in make_batches()), theirs)
    expected = theirs.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())
    assert not any(module.training for module in ours.modules())
    assert [norm.momentum for norm in learning_norms(ours)] == [0.1, 0.1]


def test_dropout_neither_changes_them_nor_draws_a_number():
    with_dropout, without = make_network(0.5), make_network()
    before = torch.get_rng_state()
    for network in (with_dropout, without):
        estimate_statistics(network, make_batches(), compute=CPU)
    assert torch.equal(torch.get_rng_state(), before)
    expected = without.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in with_dropout.state_dict().items())


def test_a_call_that_stops_says_why_and_the_next_one_begins_anew():
    network, whole = make_network(), make_network()
    answers = iter([None, None, "no time"])
    assert estimate_statistics(network, make_batches(), compute=CPU, stop_reason=lambda: next(answers)) == "no time"
    for stopped in (network, whole):
        assert estimate_statistics(stopped, make_batches(), compute=CPU) is None
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_resting_norms_keep_theirs_and_a_network_without_norms_loads_no_image():
    network = make_network()
    before = copy.deepcopy(network.state_dict())
    estimate_statistics(network, make_batches(), compute=CPU, resting={"0"})
    assert torch.equal(network.state_dict()["0.running_mean"], before["0.running_mean"])
    assert not torch.equal(network.state_dict()["3.running_mean"], before["3.running_mean"])

    def fail():
        pytest.fail("an image is loaded")
        yield

    assert estimate_statistics(nn.Linear(3, 4), fail(), compute=CPU) is None


def test_several_processes_end_with_the_mean_of_theirs():
    parts = [make_batches(2), make_batches(4)[2:]]
    networks = [make_network(), make_network()]
    gathered: list[torch.Tensor] = []

    class Pair(ProcessGroup):
        def all_gather(self, part: torch.Tensor) -> torch.Tensor:
            gathered.append(part.clone())
            return torch.cat(gathered)

    for network, batches in zip(networks, parts, strict=True):
        estimate_statistics(network, batches, compute=Compute(torch.device("cpu"), torch.float32, Pair(0, 2)))
    alone = [make_network(), make_network()]
    for network, batches in zip(alone, parts, strict=True):
        estimate_statistics(network, batches, compute=CPU)
    for name in ("0.running_mean", "0.running_var", "3.running_mean", "3.running_var"):
        mean = (alone[0].state_dict()[name] + alone[1].state_dict()[name]) / 2
        torch.testing.assert_close(networks[1].state_dict()[name], mean)


@pytest.mark.parametrize(("samples", "steps"), [(100, 12), (1_000_000, MOST_SAMPLES / 8)])
def test_an_epoch_is_enough_and_a_large_one_is_more_than_that(samples, steps):
    (span,) = plan_spans((StageConfig(batch_size=8),), [samples])
    assert num_steps(span) == steps
