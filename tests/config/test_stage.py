"""Ranges of a stage's settings."""

import pytest

from imettk.config import StageConfig
from imettk.errors import ConfigError


@pytest.mark.parametrize(
    "values",
    [
        {"num_epochs": 0},
        {"num_epochs": 1e7},
        {"batch_size": 2**21},
        {"batch_size": 10, "accumulate": 3},
        {"lr": ()},
        {"num_epochs": 1, "warmup_epochs": 2},
        {"warmup_start": 0.0},
        {"clip_norm": 0.0},
        {"schedule_part": (0.5, 0.5)},
        {"schedule_part": (0.5,)},
        {"schedule": "plateau", "schedule_part": (0.0, 0.5)},
        {"image_size": (64, 20_000)},
        {"label_smoothing": 0.0, "smoothing_by": "counts"},
        {"effective_beta": 1.0},
        {"label_weights": {"a": 0.0}},
        {"label_weights": {"a": "much"}},
        {"lookahead": -1},
        {"cycle_factor": 0.5},
        {"mosaic": 1.5},
        {"mosaic": 0.5, "mix_classes": "same"},
    ],
)
def test_a_value_out_of_range_is_refused_with_name_rule_and_value(values):
    with pytest.raises(ConfigError, match=rf"`{list(values)[-1]}` of StageConfig must be .*, got"):
        StageConfig(**values)
