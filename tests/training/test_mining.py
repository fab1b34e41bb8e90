"""The hardest samples of an epoch come again in the next, whatever happens in between."""

import numpy as np
import pytest
import torch

from imettk.config import StageConfig
from imettk.training.mining import Mining
from imettk.training.process_group import Compute

HARD = (StageConfig(num_epochs=4, batch_size=5, lr=(0.02,), hard_examples=0.25),)  # 24 + 6 rows: 6 steps an epoch


def mining(rows=None) -> Mining:
    rows = np.array([4, 9, 2, 7]) if rows is None else rows
    return Mining(rows, seed=1, compute=Compute(torch.device("cpu"), torch.float32))


def test_the_largest_losses_come_again_and_ties_go_to_the_first():
    mine = mining()
    mine.extra_rows(0, 0.5)
    mine.record(torch.tensor([9, 2]), torch.tensor([0.3, 0.9]))
    mine.record(torch.tensor([4, 7]), torch.tensor([0.3, 0.1]))
    mine.record(torch.tensor([2]), torch.tensor([0.2]))  # came twice: the larger loss counts
    assert mine.extra_rows(1, 0.5).tolist() == [2, 4]
    assert mine.extra_rows(1, 0.5).tolist() == [2, 4], "an epoch that has begun keeps its rows"


def test_rows_not_seen_come_last_and_the_first_epoch_draws_by_chance():
    mine = mining()
    first = mine.extra_rows(0, 0.5)
    assert len(set(first.tolist())) == 2 and set(first.tolist()) <= {4, 9, 2, 7}
    assert first.tolist() == mining().extra_rows(0, 0.5).tolist()
    mine.record(torch.tensor([7]), torch.tensor([0.01]))
    assert mine.extra_rows(1, 0.5).tolist()[0] == 7


def test_a_checkpoint_in_the_middle_of_an_epoch_keeps_all():
    one = mining()
    one.extra_rows(0, 0.5)
    one.record(torch.tensor([9, 2]), torch.tensor([0.3, 0.9]))
    other = mining()
    other.load({name: value.clone() for name, value in one.tensors().items()})
    assert other.extra_rows(0, 0.5).tolist() == one.extra_rows(0, 0.5).tolist()
    for mine in (one, other):
        mine.record(torch.tensor([4]), torch.tensor([2.0]))
    assert other.extra_rows(1, 0.5).tolist() == one.extra_rows(1, 0.5).tolist() == [4, 2]


@pytest.mark.parametrize("limit", [1, 4, 100])
def test_a_training_shows_the_hardest_again_as_its_own_losses_say(make_trainer, limit):
    """Recomputed from outside: what each epoch held, and the losses of the one before."""
    seen: list[tuple[int, list[int], list[float]]] = []
    while True:
        trainer = make_trainer(stages=HARD, limit_steps=limit)
        record = trainer._mining.record

        def spied(rows, losses, trainer=trainer, record=record):
            seen.append((trainer.at.step, rows.tolist(), losses.tolist()))
            record(rows, losses)

        trainer._mining.record = spied
        if trainer.fit() is None:
            break
    steps = [step for step, _, _ in seen]
    assert steps == list(range(24))
    for epoch in range(1, 4):
        before, now = (seen[6 * one : 6 * one + 6] for one in (epoch - 1, epoch))
        worst: dict[int, float] = {}
        for _, rows, losses in before:
            for row, loss in zip(rows, losses, strict=True):
                worst[row] = max(loss, worst.get(row, -np.inf))
        hardest = sorted(worst, key=lambda row: (-worst[row], row))[:6]
        counts = np.bincount(np.concatenate([rows for _, rows, _ in now]), minlength=24)
        assert counts.tolist() == [2 if row in hardest else 1 for row in range(24)]


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_hard_first_begins_an_epoch_with_the_largest_losses_of_the_last(make_trainer, limit):
    """In sessions of any length; the rows that whole batches leave over are not the same ones each time."""
    seen: list[tuple[list[int], list[float]]] = []
    stages = (StageConfig(num_epochs=5, batch_size=5, lr=(0.02,), sampler="hard_first"),)  # 24 rows: 4 steps an epoch
    while True:
        trainer = make_trainer(stages=stages, limit_steps=limit)
        record = trainer._mining.record

        def spied(rows, losses, record=record):
            seen.append((rows.tolist(), losses.tolist()))
            record(rows, losses)

        trainer._mining.record = spied
        if trainer.fit() is None:
            break
    assert len(seen) == 20
    left_out = set()
    for epoch in range(5):
        now = [row for rows, _ in seen[4 * epoch : 4 * epoch + 4] for row in rows]
        assert len(set(now)) == 20
        left_out.add(frozenset(range(24)) - frozenset(now))
        if epoch:
            before = {row: loss for part in seen[4 * epoch - 4 : 4 * epoch] for row, loss in zip(*part, strict=True)}
            assert now == sorted(now, key=lambda row: (-before.get(row, -np.inf), row))
    assert len(left_out) >= 3
