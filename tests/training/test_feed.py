"""No stage begins whose micro-batches are too small for BatchNorm."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from imettk.config import StagePlan
from imettk.errors import ConfigError
from imettk.training.feed import check_batches


def test_frozen_batchnorm_needs_no_company(make_trainer):
    stages = (StagePlan(num_epochs=1, batch_size=8, lr=(0.02,), frozen_groups=1),)
    trainer = make_trainer(stages=stages)
    assert trainer._least == [1] and make_trainer("other")._least == [2]


@pytest.mark.parametrize(("batch_size", "accumulate"), [(16, 16), (1, 1), (3, 3)])
def test_micro_batches_of_one_are_refused_when_the_recipe_is_made(batch_size, accumulate):
    with pytest.raises(ConfigError, match="at most half of `batch_size`"):
        StagePlan(batch_size=batch_size, accumulate=accumulate)


@pytest.mark.parametrize(("rows", "accumulate", "least", "fits"), [(1, 1, 2, False), (1, 1, 1, True), (2, 1, 2, True),
                                                                   (5, 4, 2, False), (8, 4, 2, True)])  # fmt: skip
def test_few_rows_may_leave_a_micro_batch_of_one(rows, accumulate, least, fits):
    plan = StagePlan(batch_size=16, accumulate=accumulate)
    data = SimpleNamespace(rows=np.arange(rows), loss_for=lambda plan: None)
    span = SimpleNamespace(stage=0, plan=plan)
    if fits:
        check_batches(data, [span], 1, [least])
    else:
        with pytest.raises(ConfigError, match="which BatchNorm cannot train on"):
            check_batches(data, [span], 1, [least])
