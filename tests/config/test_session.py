"""Ranges of a session's settings."""

import pytest

from imettk.config import SessionConfig
from imettk.errors import ConfigError


@pytest.mark.parametrize("values", [{"margin_seconds": 40000.0}, {"num_workers": 99_999}, {"num_processes": 99_999}])
def test_a_value_out_of_range_is_refused_with_name_rule_and_value(values):
    with pytest.raises(ConfigError, match=rf"`{list(values)[-1]}` of SessionConfig must be .*, got"):
        SessionConfig(**values)
