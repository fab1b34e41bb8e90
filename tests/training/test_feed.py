"""No stage begins whose micro-batches are too small for BatchNorm."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from imettk.config import StageConfig
from imettk.errors import ConfigError
from imettk.losses.cross_entropy import cross_entropy
from imettk.losses.output_loss import OutputLoss
from imettk.training.feed import check_batches


def test_frozen_batchnorm_needs_no_company(make_trainer):
    stages = (StageConfig(num_epochs=1, batch_size=8, lr=(0.02,), frozen_groups=1),)
    trainer = make_trainer(stages=stages)
    assert trainer._least == [1] and make_trainer("other")._least == [2]


@pytest.mark.parametrize(("batch_size", "accumulate"), [(16, 16), (1, 1), (3, 3)])
def test_micro_batches_of_one_are_refused_when_the_recipe_is_made(batch_size, accumulate):
    with pytest.raises(ConfigError, match="at most half of `batch_size`"):
        StageConfig(batch_size=batch_size, accumulate=accumulate)
    StageConfig(batch_size=batch_size, accumulate=accumulate, freeze_batchnorm=True)


@pytest.mark.parametrize(("rows", "accumulate", "least", "fits"), [(1, 1, 2, False), (1, 1, 1, True), (2, 1, 2, True),
                                                                   (5, 4, 2, False), (8, 4, 2, True)])  # fmt: skip
def test_few_rows_may_leave_a_micro_batch_of_one(rows, accumulate, least, fits):
    config = StageConfig(batch_size=16, accumulate=accumulate)
    data = SimpleNamespace(rows=np.arange(rows), loss_for=lambda config: None)
    span = SimpleNamespace(stage=0, config=config)
    if fits:
        check_batches(data, [span], 1, [least])
    else:
        with pytest.raises(ConfigError, match="which BatchNorm cannot train on"):
            check_batches(data, [span], 1, [least])


@pytest.mark.parametrize("whole_batch", [True, False])
@pytest.mark.parametrize(("batch_size", "processes"), [(8, 2), (9, 2), (8, 3)])
def test_a_loss_over_the_whole_batch_needs_equal_parts(whole_batch, batch_size, processes):
    config, loss = StageConfig(batch_size=batch_size), OutputLoss(cross_entropy, whole_batch=whole_batch)
    data = SimpleNamespace(rows=np.arange(100), loss_for=lambda config: loss)
    span = SimpleNamespace(stage=0, config=config)
    if batch_size % processes == 0 or not whole_batch:
        check_batches(data, [span], processes, [1])
    else:
        with pytest.raises(ConfigError, match="a loss over the whole batch needs equal parts"):
            check_batches(data, [span], processes, [1])
