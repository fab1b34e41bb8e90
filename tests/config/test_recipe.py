"""The recipe: JSON in and out, ranges of its fields, rules between its sections."""

import json
import re

import pytest

from imettk.config import (
    ExtraTable,
    FoldConfig,
    ImageFormat,
    ModelConfig,
    PredictConfig,
    RankConfig,
    Recipe,
    RuleConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    from_json,
    read_recipe,
    to_json,
)
from imettk.config.fields import field_names, field_type
from imettk.errors import ConfigError, MissingFileError
from imettk.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_json_round_trip(name):
    recipe = RECIPES[name]()
    assert from_json(to_json(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"trian": {}}', "`trian` is not a field of the recipe; did you mean `train`?"),
        ('{"stages": [{"num_epoch": 1}]}', "did you mean `stages.0.num_epochs`?"),
        ('{"train": {"lr": 1}}', "did you mean `stages.0.lr`?"),
        ('{"train": {"seed": "x"}}', "train.seed: Input should be a valid integer, got 'x'"),
        ('{"train": {"seed": true}}', "train.seed"),
        ('{"train": {"loss": "bcee"}}', "`loss` of TrainConfig must be one of bce, focal, "),
        ('{"stages": [{"batch_size": 0}]}', "`batch_size` of StageConfig must be at least 1, got 0"),
        ('{"images": {"channels": "3"}}', "images.channels"),
        ("[1", "Invalid JSON"),
        ('{"stages": []}', "`stages` of Recipe must be at least one stage"),
    ],
)
def test_a_bad_recipe_is_one_clear_line(text, message):
    with pytest.raises(ConfigError) as caught:
        from_json(text, where="mine.json")
    assert str(caught.value).startswith("mine.json: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (ModelConfig, {"backbone": "resnet34"}),
        (ModelConfig, {"backbone": "timm:"}),
        (ModelConfig, {"dropout": 1.0}),
        (ModelConfig, {"drop_path": 1.0}),
        (ModelConfig, {"backbone_dropout": -0.1}),
        (ModelConfig, {"backbone": "pretrainedmodels:resnet18", "drop_path": 0.0}),
        (ModelConfig, {"backbone": "recipe:mine", "backbone_dropout": 0.1}),
        (ModelConfig, {"layer_groups": -1}),
        (ModelConfig, {"levels": (2, 1)}),
        (ModelConfig, {"levels": (1, 1)}),
        (ModelConfig, {"levels": (-1, 2)}),
        (ModelConfig, {"levels": (1, 2), "last_levels": 2}),
        (ModelConfig, {"head": "wide", "pool": "max"}),
        (ModelConfig, {"head": "recipe:mine", "pool": "attention"}),
        (ModelConfig, {"dropout": 0.1, "dropout_samples": 65}),
        (ModelConfig, {"dropout_samples": 2}),
        (ModelConfig, {"dropout": 0.1, "head": "embedding", "dropout_samples": 2}),
        (ModelConfig, {"dropout": 0.1, "head": "recipe:mine", "dropout_samples": 2}),
        (ImageFormat, {"mean": (0.5,)}),
        (ImageFormat, {"image_size": (4, 64)}),
        (ImageFormat, {"std": (0.0, 1.0, 1.0)}),
        (PredictConfig, {"views": ("plain", "plain")}),
        (PredictConfig, {"image_size": (4, 64)}),
        (FoldConfig, {"num_folds": 1}),
        (TrainConfig, {"ema_decay": 1.0}),
        (RuleConfig, {"beta": 0.0}),
        (TableFormat, {"label_separator": ""}),
    ],
)
def test_values_out_of_range_are_refused_with_name_rule_and_value(section, values):
    name = list(values)[-1]
    with pytest.raises(ConfigError, match=rf"`{name}` of {section.__name__} must be .*, got"):
        section(**values)


def test_rules_between_sections():
    with pytest.raises(ConfigError, match="cross_entropy"):
        Recipe(table=TableFormat(task="multiclass"))
    with pytest.raises(ConfigError, match=r"`stages.0.lr` must hold 1 value, or 3"):
        Recipe(model=ModelConfig(layer_groups=2), stages=(StageConfig(lr=(1e-3, 1e-4)),))
    with pytest.raises(ConfigError, match=r"`stages.0.lr` must hold 1 value with model.layer_groups 0, got 2"):
        Recipe(model=ModelConfig(layer_groups=0), stages=(StageConfig(lr=(1e-3, 1e-4)),))
    with pytest.raises(ConfigError, match=r"`stages.0.frozen_groups` must be at most"):
        Recipe(stages=(StageConfig(frozen_groups=2),))
    images = ImageFormat(image_size=(64, 64), load_size=(80, 96), fit="centre_crop")
    assert Recipe(images=images, predict=PredictConfig(image_size=(80, 80))).predict_size == (80, 80)
    with pytest.raises(ConfigError, match=r"`predict.image_size` must be at most `images.load_size` \(80, 96\)"):
        Recipe(images=images, predict=PredictConfig(image_size=(96, 80)))
    with pytest.raises(ConfigError, match=r"`stages.0.mix_classes` same needs one class an image: a multiclass or ord"):
        Recipe(stages=(StageConfig(mixup=0.4, mix_classes="same"),))


def test_a_missing_recipe_names_the_command_that_writes_it(tmp_path):
    with pytest.raises(MissingFileError, match="imettk prepare"):
        read_recipe(tmp_path / "recipe.json")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


EVERYTHING = Recipe(table=TableFormat(extra=(ExtraTable(csv="more.csv", images="more"),)))
NUMBERS = [name for name in field_names(EVERYTHING) if {"int", "float"} & set(_words(field_type(EVERYTHING, name)))]
NO_NUMBERS = [float("nan"), float("inf"), float("-inf"), 1e39, -1e39, 2**63, -(2**63), 10**30, 10**400]


def test_there_are_many_numbers_in_every_section():
    assert len(NUMBERS) > 80
    assert {name.split(".")[0] for name in NUMBERS} == set(json.loads(to_json(Recipe()))) - {
        "name",
        "score",
        "source_sha256",
    }


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: f"{value:.3g}" if abs(value) < 1e300 else "large")
def test_no_number_of_a_recipe_is_infinite_or_too_large(value):
    for name in NUMBERS:
        if isinstance(value, int) and abs(value) < 10**38 and "float" in field_type(EVERYTHING, name):
            continue  # as a float it is one like any other
        content = json.loads(to_json(EVERYTHING))
        section = content
        *path, last = name.split(".")
        for part in path:
            section = section[int(part)] if isinstance(section, list) else section[part]
        old, kind = section[last], field_type(EVERYTHING, name)
        several = "values of type" in kind
        section[last] = [value] * max(1, len(old or "xx")) if several else value
        with pytest.raises(ConfigError) as caught:
            from_json(json.dumps(content))
        assert last in str(caught.value) and "\n" not in str(caught.value), name


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (FoldConfig, {"seed": -1}),
        (FoldConfig, {"seed": 2**32}),
        (FoldConfig, {"num_folds": 10**6}),
        (TrainConfig, {"validate_epochs": 1e7}),
        (ImageFormat, {"image_size": (20_000, 64)}),
        (ImageFormat, {"channels": 1000}),
        (PredictConfig, {"batch_size": 2**21}),
        (ModelConfig, {"embedding_size": 2**21}),
        (RankConfig, {"num_neighbours": 10**6, "num_answers": 10**5}),
    ],
)
def test_a_value_that_would_take_all_memory_or_processes_is_refused(section, values):
    name = list(values)[-1]
    with pytest.raises(ConfigError, match=rf"`{name}` of {section.__name__} must be .*, got"):
        section(**values)


def test_a_recipe_that_is_not_text_is_one_line(tmp_path):
    (tmp_path / "recipe.json").write_bytes(to_json(Recipe()).encode("utf-16"))
    with pytest.raises(ConfigError, match=r"recipe\.json is not UTF-8 text \(.*\): is it a recipe") as caught:
        read_recipe(tmp_path / "recipe.json")
    assert "\n" not in str(caught.value)
