"""Pools of feature maps, against plain formulas and timm's own pools."""

import numpy as np
import pytest
import torch
from timm.layers import SelectAdaptivePool2d

from imettk.config.choices import POOLS
from imettk.models.pools import AttentionPool, AveragePool, GemPool, make_pools

MAPS = torch.rand(6, 5, 4, 3, generator=torch.Generator().manual_seed(0))
FORMULAS = {
    "average": lambda values: values.mean(2),
    "max": lambda values: values.max(2),
    "average_max": lambda values: np.concatenate([values.mean(2), values.max(2)], 1),
    "gem": lambda values: (values**3).mean(2) ** (1 / 3),
    "attention": lambda values: values.mean(2),  # at the start
}


@pytest.mark.parametrize("name", POOLS)
def test_each_is_its_formula_in_either_layout(name):
    (pool,) = make_pools(name, [5])
    expected = torch.from_numpy(FORMULAS[name](MAPS.double().numpy().reshape(6, 5, 12))).float()
    assert expected.shape == (6, pool.width)
    for maps in (MAPS, MAPS.to(memory_format=torch.channels_last)):
        torch.testing.assert_close(pool(maps), expected)


@pytest.mark.parametrize(("name", "theirs"), [("average", "avg"), ("max", "max"), ("average_max", "catavgmax")])
def test_each_is_timms_where_it_has_one(name, theirs):
    (pool,) = make_pools(name, [5])
    torch.testing.assert_close(pool(MAPS), SelectAdaptivePool2d(pool_type=theirs, flatten=True)(MAPS))


def test_gem_of_power_one_is_the_average():
    gem = GemPool(5)
    gem.power.data.fill_(1.0)
    torch.testing.assert_close(gem(MAPS), AveragePool(5)(MAPS))


def test_gem_of_zeros_has_finite_gradients_in_half_precision():
    gem = GemPool(3)
    maps = torch.zeros(2, 3, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        gem(maps).sum().backward()
    assert maps.grad.isfinite().all() and gem.power.grad.isfinite()


def test_attention_weighs_each_position_by_its_score():
    torch.manual_seed(0)
    pool = AttentionPool(5)
    pool.score[2].weight.data.normal_(std=3)
    v, bias, w = (value.detach().double().numpy() for value in pool.parameters())
    expected = np.zeros((6, 5))
    for row, image in enumerate(MAPS.double().numpy()):
        positions = [image[:, y, x] for y in range(4) for x in range(3)]
        scores = np.array([w[0] @ np.tanh(v @ features + bias) for features in positions])
        weights = np.exp(scores) / np.exp(scores).sum()
        expected[row] = sum(weight * features for weight, features in zip(weights, positions, strict=True))
        assert weights.max() > 2 * weights.min(), "so much that it shows"
    torch.testing.assert_close(pool(MAPS).double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


def test_attention_that_starts_as_the_average_learns():
    torch.manual_seed(0)
    pool = AttentionPool(5)
    optimizer = torch.optim.SGD(pool.parameters(), lr=1.0)
    before = [parameter.detach().clone() for parameter in pool.parameters()]
    for _ in range(2):  # only w has a gradient in the first
        optimizer.zero_grad()
        pool(MAPS)[:, 0].sum().backward()
        optimizer.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, pool.parameters(), strict=True))


def test_attention_in_half_precision_is_near():
    pool = AttentionPool(5)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(pool(MAPS).float(), MAPS.mean((2, 3)), rtol=0.02, atol=0.01)
