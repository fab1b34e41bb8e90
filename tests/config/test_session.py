"""Ranges of a session's settings."""

import pytest

from imettk.config import SessionConfig, duration
from imettk.errors import ConfigError


@pytest.mark.parametrize("values", [{"margin_seconds": 40000.0}, {"num_workers": 99_999}, {"num_processes": 99_999}])
def test_a_value_out_of_range_is_refused_with_name_rule_and_value(values):
    with pytest.raises(ConfigError, match=rf"`{list(values)[-1]}` of SessionConfig must be .*, got"):
        SessionConfig(**values)


def test_a_duration_is_a_number_with_a_unit():
    assert [duration(text) for text in ("90s", "45m", "1.5h")] == [90, 2700, 5400]
    for text in ("6", "h", "-1h", "6d", "nanh", "infs", ""):
        with pytest.raises(ValueError):
            duration(text)
