"""Optimizers that no recipe may name."""

import pytest
import timm.optim

from imettk.config import StageConfig
from imettk.config.optimizers import UNFIT_OPTIMIZERS
from imettk.errors import ConfigError


@pytest.mark.parametrize("name", UNFIT_OPTIMIZERS)
def test_each_is_refused_with_its_reason(name):
    assert name in timm.optim.list_optimizers()
    with pytest.raises(ConfigError, match=f"`optimizer` of StageConfig must be another one: it .*, got 'timm:{name}'"):
        StageConfig(optimizer=f"timm:{name}")


def test_what_differentiates_twice_is_among_them():
    second = {name for name in timm.optim.list_optimizers() if timm.optim.get_optimizer_info(name).second_order}
    assert second <= set(UNFIT_OPTIMIZERS)
