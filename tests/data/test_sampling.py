"""The samples of a step depend only on its position."""

import numpy as np
import pytest

from imettk.data.samplers import Sampler
from imettk.data.sampling import count_steps, derive_seed, sequential_requests, train_requests

ROWS = np.arange(100, 123)  # 23 samples that stand elsewhere in the table


def requests(*, seed=4, first_epoch=0, batch_size=5, accumulate=1, first_step=0, last_step=12):
    return list(
        train_requests(
            Sampler(rows=ROWS, seed=seed).order, samples_per_epoch=len(ROWS), first_epoch=first_epoch,
            batch_size=batch_size, accumulate=accumulate, first_step=first_step, last_step=last_step,
        )
    )  # fmt: skip


def flat(batches):
    return [(request.epoch, request.positions.tolist(), request.rows.tolist()) for request in batches]


def epoch_order(count, *, seed, epoch):
    return Sampler(rows=np.arange(count), seed=seed).order(epoch)


def test_the_seed_of_one_zero_is_the_first_number_of_splitmix64():
    assert derive_seed(0) == 0xE220A8397B1DCDAF  # as in the reference implementation of Vigna
    assert derive_seed(0x9E3779B97F4A7C15) == 0x6E789E6AA1B965F4  # its second


def test_seeds_depend_on_every_part_and_their_order():
    parts = [(a, b, c) for a in range(8) for b in range(8) for c in range(8)] + [(1,), (1, 0), (0, 1), (-1, 5)]
    seeds = {derive_seed(*numbers) for numbers in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_an_order_is_a_permutation_of_seed_and_epoch_alone():
    first = epoch_order(1000, seed=1, epoch=2)
    assert sorted(first.tolist()) == list(range(1000))
    np.random.default_rng(0).random(7)
    np.testing.assert_array_equal(first, epoch_order(1000, seed=1, epoch=2))
    for other in (epoch_order(1000, seed=1, epoch=3), epoch_order(1000, seed=2, epoch=2), np.arange(1000)):
        assert (first == other).mean() < 0.02


@pytest.mark.parametrize(("num_samples", "batch_size", "steps"), [(23, 5, 4), (25, 5, 5), (3, 5, 1), (5, 5, 1)])
def test_steps_are_whole_batches_but_at_least_one(num_samples, batch_size, steps):
    assert count_steps(num_samples, batch_size) == steps


def test_no_sample_twice_in_an_epoch_and_rows_follow_the_order():
    by_epoch = {}
    for request in requests(first_epoch=3):
        by_epoch.setdefault(request.epoch, []).append(request)
    assert {epoch: len(batches) for epoch, batches in by_epoch.items()} == {3: 4, 4: 4, 5: 4}
    for epoch, batches in by_epoch.items():
        positions = np.concatenate([request.positions for request in batches])
        assert positions.tolist() == list(range(20))
        rows = np.concatenate([request.rows for request in batches])
        assert len(set(rows.tolist())) == 20 and set(rows.tolist()) <= set(ROWS.tolist())
        assert rows.tolist() == [ROWS[place] for place in epoch_order(23, seed=4, epoch=epoch)[:20]]


@pytest.mark.parametrize("first_step", [1, 3, 4, 7, 11, 12])
def test_from_any_step_on_the_requests_are_the_tail_of_the_whole(first_step):
    assert flat(requests(first_step=first_step)) == flat(requests())[first_step:]


@pytest.mark.parametrize("accumulate", [2, 3, 6])
def test_micro_batches_join_to_the_same_rows(accumulate):
    whole = requests(batch_size=6, last_step=9)
    parts = requests(batch_size=6, last_step=9, accumulate=accumulate)
    assert len(parts) == accumulate * len(whole)
    for step, request in enumerate(whole):
        batches = parts[step * accumulate : (step + 1) * accumulate]
        assert {part.epoch for part in batches} == {request.epoch}
        assert np.concatenate([part.rows for part in batches]).tolist() == request.rows.tolist()
        assert np.concatenate([part.positions for part in batches]).tolist() == request.positions.tolist()
        assert {len(part.rows) for part in batches} == {6 // accumulate}


def test_a_batch_larger_than_the_table_is_the_whole_table():
    (request,) = requests(batch_size=64, last_step=1)
    assert sorted(request.rows.tolist()) == ROWS.tolist()


def test_sequential_requests_hold_every_row_once_in_order():
    batches = list(sequential_requests(ROWS[::-1], 5))
    assert [len(request.rows) for request in batches] == [5, 5, 5, 5, 3]
    assert np.concatenate([request.rows for request in batches]).tolist() == ROWS[::-1].tolist()
    assert np.concatenate([request.positions for request in batches]).tolist() == list(range(23))
