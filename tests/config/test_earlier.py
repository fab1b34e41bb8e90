"""Recipes of earlier versions are read under today's names, with a note, and keep their fingerprints."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from imettk import config
from imettk.config import (
    PREPARE_SECTIONS,
    EmbeddingConfig,
    MetricPlan,
    ModelConfig,
    Recipe,
    RuleConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
    differences,
    earlier,
    fingerprint,
    from_json,
    to_json,
)
from imettk.config.overrides import apply_overrides
from imettk.errors import ConfigError
from imettk.recipes import RECIPES, load_recipe

# Written by 967b1a9: its default recipe, and for others the fields that differ, with their fingerprints.
THEN = json.loads((Path(__file__).parent / "recipes_of_967b1a9.json").read_text())
EMBEDS = Recipe(
    table=TableFormat(task="multiclass"),
    model=ModelConfig(head="embedding"),
    train=TrainConfig(loss="arcface"),
    rule=RuleConfig(kind="rank"),
)
NOTE = "note: the section `metric` of a recipe is now `embedding`, and MetricPlan EmbeddingConfig\n"
LEVELS_NOTE = "note: `model.last_stages` of a recipe is now `model.last_levels`\n"
FOCAL_NOTE = "note: `train.focal_gamma` is now `train.loss_params` gamma\n"


@pytest.fixture(autouse=True)
def nothing_noted_yet():
    earlier._note.cache_clear()


def as_written(name: str) -> str:
    """Return the recipe.json that 967b1a9 wrote."""
    content = json.loads(json.dumps(THEN["defaults"]))
    for section, fields in THEN["recipes"][name]["changed"].items():
        if section == "stages":
            content["stages"] = [THEN["defaults"]["stages"][0] | stage for stage in fields]
        elif isinstance(fields, dict):
            content[section] |= fields
        else:
            content[section] = fields
    return json.dumps(content, indent=2) + "\n"


@pytest.mark.parametrize("name", THEN["recipes"])
def test_a_recipe_that_967b1a9_wrote_keeps_its_fingerprint(name):
    then, recipe = THEN["recipes"][name], from_json(as_written(name))
    assert fingerprint(recipe) == then["fingerprint"]
    assert fingerprint(recipe, PREPARE_SECTIONS) == then["prepared"]
    again = from_json(to_json(recipe))
    assert again == recipe and fingerprint(again) == then["fingerprint"]


@pytest.mark.parametrize("name", [name for name in RECIPES if name in THEN["recipes"]])
def test_a_built_in_recipe_equals_the_one_that_967b1a9_wrote(name, capsys):
    recipe, images = RECIPES[name](), RECIPES[name]().images
    then = {part: getattr(images, part) or usual for part, usual in earlier.IMAGENET.items()}  # the default then
    assert from_json(as_written(name)) == replace(recipe, images=replace(images, **then))
    assert fingerprint(recipe) == THEN["recipes"][name]["fingerprint"]
    assert differences(from_json(as_written(name)), recipe) == []
    # There is one note, and only for fields that somebody has set.
    from_json(as_written(name))
    text = capsys.readouterr().out
    changed = THEN["recipes"][name]["changed"]
    assert text.count("`metric`") == ("metric" in changed)
    assert text.count("focal_gamma") == ("focal_gamma" in changed["train"])


def test_a_stage_takes_over_the_parameters_that_only_it_used(capsys):
    recipe = from_json(as_written("focal in a stage"))
    assert recipe.train.loss_params == recipe.stages[0].loss_params == {}
    assert recipe.stages[1].loss_params == recipe.stages[2].loss_params == {"gamma": 1.0, "alpha": 0.5}
    assert capsys.readouterr().out == (
        "note: `train.focal_gamma`, `train.focal_alpha` are now `stages.1.loss_params` and `stages.2.loss_params` "
        "gamma, alpha\n"
    )


def test_parameters_that_no_loss_used_are_left_out_with_a_note(capsys):
    assert from_json('{"train": {"focal_gamma": 1.0}}') == Recipe()
    assert capsys.readouterr().out.startswith(
        "note: `train.focal_gamma` is left out, as no loss of this recipe is focal"
    )


def test_parameters_change_the_fingerprint_unless_they_are_the_default():
    focal = Recipe(train=TrainConfig(loss="focal"))
    default = replace(focal, train=TrainConfig(loss="focal", loss_params={"gamma": 2, "constant_weight": False}))
    assert fingerprint(default) == fingerprint(focal)
    stages = (
        StageConfig(),
        StageConfig(loss_params={"gamma": 3.0}),
        StageConfig(loss="focal", loss_params={"alpha": 0.5}),
    )
    several = [
        focal,
        replace(focal, train=TrainConfig(loss="focal", loss_params={"gamma": 3.0})),
        replace(focal, stages=stages),
        replace(focal, stages=stages[::-1]),
        replace(focal, stages=stages[:2]),
        replace(focal, stages=stages[1:]),
        replace(focal, train=TrainConfig(loss="focal", loss_params={"gamma": 3.0}), stages=stages),
        replace(focal, train=TrainConfig(loss="focal", loss_params={"gamma": 3.0}), stages=stages[::2]),
        # Back to the default in a stage is not the training's own.
        replace(
            focal,
            train=TrainConfig(loss="focal", loss_params={"gamma": 3.0}),
            stages=(stages[0], StageConfig(loss_params={"gamma": 2.0}), stages[2]),
        ),
        Recipe(stages=(StageConfig(loss="focal", loss_params={"gamma": 3.0}), StageConfig(loss="focal"))),
        Recipe(stages=(StageConfig(loss="focal"), StageConfig(loss="focal", loss_params={"gamma": 3.0}))),
        Recipe(stages=(StageConfig(loss="focal", loss_params={"gamma": 3.0}),) * 2),
    ]
    assert len({fingerprint(recipe) for recipe in several}) == len(several)


def test_both_names_of_a_section_or_field_are_refused():
    with pytest.raises(ConfigError, match=r"mine\.json: holds both `embedding` and `metric`"):
        from_json('{"metric": {}, "embedding": {}}', where="mine.json")
    with pytest.raises(ConfigError, match=r"holds both `model.last_levels` and `model.last_stages`, its earlier name"):
        from_json('{"model": {"last_levels": 2, "last_stages": 2}}')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"metric": {"margin": "x"}}', "embedding.margin: Input should be a valid number, got 'x'"),
        ('{"metric": {"margn": 1}}', "`embedding.margn` is not a field of the recipe; did you mean `embedding.margin`"),
        ('{"metric": 5}', "embedding: Input should be an object, got '5'"),
        ('{"model": {"last_stages": 0}}', "`last_levels` of ModelConfig must be at least 1, got 0"),
        ('{"model": {"last_stages": {}}}', "model.last_levels: Input should be a valid integer, got '{}'"),
        ('{"train": 5, "stages": 3}', "train: Input should be an object, got '5'"),
        ('{"train": {"loss": "focal", "focal_gamma": "x"}}', "`train.loss_params` gamma must be float, got 'x'"),
        ('{"train": {"loss": "focal", "focal_gamma": 0.5}}', "`gamma` of FocalParams must be 0, 1 or above"),
        ('{"train": {"loss": "focal", "focal_gamma": 1, "loss_params": [1]}}', "train.loss_params: Input should be"),
    ],
)
def test_an_error_under_an_earlier_name_is_one_clear_line(text, message):
    with pytest.raises(ConfigError) as caught:
        from_json(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_overrides_by_the_earlier_names(capsys):
    changed = apply_overrides(EMBEDS, ["--metric.margin", "0.3", "--metric.easy-margin", "True", "--embedding.scale=5"])
    assert changed == replace(EMBEDS, embedding=EmbeddingConfig(margin=0.3, easy_margin=True, scale=5.0))
    assert differences(EMBEDS, changed)[1] == "embedding.margin: 0.5 -> 0.3"
    assert capsys.readouterr().out == NOTE
    imet = RECIPES["imet2019"]()
    changed = apply_overrides(imet, ["--train.focal-gamma", "1.5", "--train.seed", "3", "--train.focal_constant=False"])
    assert changed.train.loss_params == {"gamma": 1.5, "alpha": 0.5, "constant_weight": False}
    assert changed.train.seed == 3 and "`train.focal_gamma`, `train.focal_constant` are now" in capsys.readouterr().out
    both = ["--train.loss-params", "gamma", "1", "--train.focal-constant"]
    assert apply_overrides(imet, both).train.loss_params == {"gamma": 1, "constant_weight": True}
    with pytest.raises(ConfigError, match=r"`embedding\.margn` is not a field"):
        apply_overrides(EMBEDS, ["--metric.margn", "1"])


def test_a_recipe_of_its_own_by_the_earlier_names(tmp_path, capsys):
    """It makes, reads and replaces a section by its earlier name, with a single note."""
    path = tmp_path / "mine.py"
    path.write_text("""
from dataclasses import replace
from imettk.config import MetricPlan, ModelConfig, Recipe, RuleConfig, TableFormat, TrainConfig

def recipe():
    base = Recipe(
        table=TableFormat(task="multiclass"),
        model=ModelConfig(head="embedding"),
        metric=MetricPlan(margin=0.4, scale=20.0),
        train=TrainConfig(loss="arcface"),
        rule=RuleConfig(kind="rank"),
    )
    return replace(base, metric=replace(base.metric, margin=0.3), name="mine")
""")
    recipe = load_recipe(str(path))
    assert recipe.embedding == EmbeddingConfig(margin=0.3, scale=20.0) and recipe.name == "mine"
    assert capsys.readouterr().out == NOTE
    assert MetricPlan is EmbeddingConfig


def test_a_field_by_its_earlier_name_in_a_file_an_option_and_a_recipe_of_its_own(capsys):
    wide = Recipe(model=ModelConfig(head="wide", last_levels=2))
    assert fingerprint(wide) == "ce015356c1490d3e"  # as 4cee5c2 gave it, with last_stages
    old = to_json(wide).replace("last_levels", "last_stages")
    assert from_json(old) == wide and capsys.readouterr().out == LEVELS_NOTE
    assert from_json('{"model": {"last_stages": 1}}') == Recipe()
    assert capsys.readouterr().out == ""  # the default, which every recipe.json holds
    earlier._note.cache_clear()
    for flag in ("--model.last-stages", "--model.last_stages"):
        assert apply_overrides(Recipe(model=ModelConfig(head="wide")), [flag, "2"]) == wide
    assert capsys.readouterr().out == LEVELS_NOTE
    earlier._note.cache_clear()
    assert ModelConfig(head="wide", last_stages=2) == wide.model
    assert replace(wide.model, last_stages=1) == ModelConfig(head="wide")
    assert wide.model.last_stages == 2 and capsys.readouterr().out == LEVELS_NOTE
    assert "last_stages" not in to_json(wide)


def test_sections_by_the_names_that_their_classes_had(capsys):
    for section in earlier.PLANS:
        assert getattr(config, f"{section}Plan") is getattr(config, f"{section}Config")
    assert capsys.readouterr().out.count("note: the sections of a recipe are now FoldConfig") == 1
    with pytest.raises(AttributeError, match="has no attribute 'GardenPlan'"):
        _ = config.GardenPlan


def test_an_option_that_names_a_section_alone_is_left_for_the_reader_to_refuse(capsys):
    assert earlier.renamed("--metric") == "--metric"
    assert capsys.readouterr().out == ""


def test_replace_of_another_section_leaves_the_embedding_as_it_is(capsys):
    assert replace(EMBEDS, embedding=EmbeddingConfig(margin=0.1)).embedding.margin == 0.1
    assert replace(replace(EMBEDS, embedding=EmbeddingConfig(margin=0.1)), name="other").embedding.margin == 0.1
    assert capsys.readouterr().out == ""


def test_focal_by_the_earlier_names_in_a_recipe_of_its_own(capsys):
    plan = TrainConfig(loss="focal", focal_gamma=1.5)
    assert plan == TrainConfig(loss="focal", loss_params={"gamma": 1.5})
    assert capsys.readouterr().out == FOCAL_NOTE
    changed = replace(RECIPES["imet2019"]().train, focal_gamma=2.0)  # the default, which is not what is there
    assert changed.loss_params == {"gamma": 2.0, "alpha": 0.5, "constant_weight": True}
    assert TrainConfig(focal_gamma=2.0) == TrainConfig()  # says nothing
    with pytest.raises(ConfigError, match=re.escape("`focal_gamma` of TrainConfig is a parameter of the loss focal")):
        TrainConfig(focal_gamma=1.5)


def test_other_wrong_names_are_still_python_errors():
    with pytest.raises(TypeError, match="focal_delta"):
        TrainConfig(focal_delta=1.0)
    with pytest.raises(ImportError):
        from imettk.config import NoSuchPlan  # noqa: F401
