"""The loss and the prior of a fold's training see its training rows alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imettk.commands.assembly import training_data
from imettk.config import Recipe, StageConfig
from imettk.data.table import read_table
from imettk.errors import ConfigError
from imettk.experiment.prepared import Prepared
from imettk.models.heads import Outputs
from imettk.recipes.digits import digits
from imettk.tasks import TASKS

STAGE = StageConfig(class_weights="inverse", label_smoothing=0.1, smoothing_by="counts", mixup=0.2)


def data_of(recipe, table):
    prepared = Prepared(table, np.arange(72) % 2, None, np.zeros(72, bool), TASKS["multilabel"])
    return training_data(recipe, prepared, prepared, 1, seed=0)


def test_other_validation_rows_change_neither_weights_nor_prior(digits_data):
    recipe = Recipe(table=digits().table, stages=(STAGE, StageConfig()))
    table = read_table(recipe.table, digits_data / "data")
    logits, targets = torch.randn(4, 15), torch.rand(4, 15)
    rows, losses, priors = np.arange(72)[:, None], [], []
    for changed in (rows < 0, rows % 2 == 1, rows % 2 == 0):  # no rows, those that validate, those that train
        data = data_of(recipe, replace(table, targets=np.where(changed, 1 - table.targets, table.targets)))
        losses.append(data.loss_for(STAGE)(Outputs(logits), targets))
        priors.append(data.prior)
        assert torch.equal(data.loss_for(StageConfig())(Outputs(logits), targets), losses[0]) is False
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[0], losses[2])
    np.testing.assert_array_equal(priors[0], table.targets[::2].mean(0, dtype=np.float32))
    np.testing.assert_array_equal(priors[0], priors[1])
    assert not np.array_equal(priors[0], priors[2])


def test_a_weight_for_no_label_is_refused_before_the_first_step(digits_data):
    recipe = Recipe(table=digits().table, stages=(StageConfig(), StageConfig(label_weights={"dog": 2.0})))
    with pytest.raises(ConfigError, match="names 'dog', which is no label of the table"):
        data_of(recipe, read_table(recipe.table, digits_data / "data"))
