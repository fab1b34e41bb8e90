"""The fingerprint changes with whatever changes the weights, and with nothing else."""

import json
from dataclasses import fields, make_dataclass, replace

import pytest

from imettk.config import (
    CacheConfig,
    EmbeddingConfig,
    FoldConfig,
    ImageFormat,
    ModelConfig,
    PredictConfig,
    RankConfig,
    Recipe,
    RuleConfig,
    ScoreConfig,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    differences,
    fingerprint,
    from_json,
    to_json,
)
from imettk.config.fingerprints import _beyond_defaults

WEIGHTS = [
    {"table": TableFormat(id_column="key")},
    {"folds": FoldConfig(seed=1)},
    {"images": ImageFormat(image_size=(64, 96))},
    {"model": ModelConfig(backbone="timm:resnet18")},
    {"embedding": EmbeddingConfig(margin=0.4)},
    {"train": TrainConfig(seed=1)},
    {"stages": (StageConfig(num_epochs=2),)},
    {"stages": (StageConfig(), StageConfig())},
    {"source_sha256": "ab"},
]
NO_WEIGHTS = [
    {"name": "other"},
    {"predict": PredictConfig(views=("plain", "hflip"))},
    {"rule": RuleConfig(beta=1.0)},
    {"score": ScoreConfig(metric="log_loss")},
    {"ranking": RankConfig(num_answers=20)},
    {"cache": CacheConfig(kind="none")},
    {"session": SessionConfig(num_workers=7, limit_seconds=1000, limit_steps=3)},
]


@pytest.mark.parametrize("change", WEIGHTS, ids=lambda change: next(iter(change)))
def test_a_change_of_the_weights_changes_the_fingerprint(change):
    assert fingerprint(replace(Recipe(), **change)) != fingerprint(Recipe())


@pytest.mark.parametrize("change", NO_WEIGHTS, ids=lambda change: next(iter(change)))
def test_any_other_change_does_not(change):
    assert fingerprint(replace(Recipe(), **change)) == fingerprint(Recipe())


def test_the_metric_changes_the_fingerprint_if_training_follows_it():
    watching = replace(Recipe(), train=TrainConfig(watch="score"))
    other = replace(watching, score=ScoreConfig(metric="log_loss"))
    assert fingerprint(other) != fingerprint(watching)
    assert differences(watching, other) == ["score.metric: None -> 'log_loss'"]


def test_every_section_is_in_one_of_the_two_lists():
    """A new section must be added to the list where it belongs."""
    listed = {name for change in (*WEIGHTS, *NO_WEIGHTS) for name in change}
    assert listed == set(json.loads(to_json(Recipe())))


def test_an_int_in_a_float_field_is_the_same_experiment():
    ints, floats = (replace(Recipe(), stages=(StageConfig(num_epochs=value),)) for value in (2, 2.0))
    assert fingerprint(ints) == fingerprint(floats) == fingerprint(from_json(to_json(ints)))


def test_a_later_version_with_more_fields_reads_the_weights_of_this_one():
    recipe = replace(Recipe(), model=ModelConfig(embedding_size=7), stages=(StageConfig(), StageConfig(lr=(0.5,))))
    kinds = ("model", ModelConfig), ("embedding", EmbeddingConfig), ("train", TrainConfig), ("table", TableFormat)
    for name, kind in kinds:
        later = make_dataclass("Later", [("new", int, 5)], bases=(kind,), frozen=True, kw_only=True)
        values = {item.name: getattr(getattr(recipe, name), item.name) for item in fields(kind)}
        assert _beyond_defaults(later(**values)) == _beyond_defaults(kind(**values))
        assert _beyond_defaults(later(**values, new=6)) == _beyond_defaults(kind(**values)) | {"new": 6}
    assert _beyond_defaults(recipe.model) == {"embedding_size": 7}
    assert _beyond_defaults(recipe.stages) == [{}, {"lr": [0.5]}]
    assert fingerprint(recipe) != fingerprint(replace(recipe, stages=recipe.stages[::-1]))


def test_differences_show_the_field_and_both_values():
    new = replace(Recipe(), train=TrainConfig(seed=3), stages=(StageConfig(), StageConfig(batch_size=8)))
    lines = differences(Recipe(), new)
    assert "train.seed: 0 -> 3" in lines
    assert "stages.1.batch_size: (absent) -> 8" in lines
    assert differences(Recipe(), Recipe()) == []
