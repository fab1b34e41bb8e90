"""The greedy choice against a plain walk over all its steps."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from imettk.postprocess.greedy import choose_greedily


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_plain_walk(seed, higher):
    rng, count = np.random.default_rng(seed), 5
    subsets = [subset for size in range(1, count + 1) for subset in itertools.combinations(range(count), size)]
    scores = dict(zip(subsets, rng.integers(0, 8, len(subsets)).astype(float), strict=True))  # with ties
    choice = choose_greedily(count, scores.__getitem__, higher=higher)

    sign = 1 if higher else -1
    left, soup, trials = list(range(count)), [], []
    while left:
        member = max(left, key=lambda number: (sign * scores[number,], -number))
        left.remove(member)
        score = scores[tuple(sorted([*soup, member]))]
        if soup:
            trials.append((member, score))
        if not soup or sign * (score - scores[tuple(soup)]) > 0:
            soup = sorted([*soup, member])
    assert (choice.members, choice.tried) == (tuple(soup), tuple(trials))
    assert choice.alone == tuple(scores[number,] for number in range(count))
    assert choice.alone[choice.best] == (max if higher else min)(choice.alone)


@pytest.mark.parametrize("higher", [True, False])
def test_what_has_no_score_never_gains(higher):
    scores = {(0,): math.nan, (1,): 0.5, (0, 1): math.nan}
    choice = choose_greedily(2, scores.__getitem__, higher=higher)
    assert (choice.members, choice.best) == ((1,), 1)
    only = choose_greedily(1, lambda members: math.nan, higher=higher)
    assert (only.members, only.tried) == ((0,), ())
