"""Recipes with fields changed are those that the command line makes of the same options."""

import pytest

import imettk
from imettk.config import fingerprint, to_json
from imettk.config.overrides import apply_overrides
from imettk.errors import ConfigError
from imettk.recipes import load_recipe


def test_fields_do_what_options_do():
    changed = imettk.load_recipe(
        "digits",
        {"stages.0.num_epochs": 2, "images.image_size": [32, 32], "session.num_workers": 0, "train.ema_decay": None},
    )
    words = ["--stages.0.num-epochs", "2", "--images.image-size", "32", "32", "--session.num-workers", "0"]
    assert changed == apply_overrides(load_recipe("digits"), [*words, "--train.ema-decay", "none"])
    assert isinstance(changed, imettk.Recipe) and imettk.load_recipe("digits") == load_recipe("digits")
    assert fingerprint(changed) != fingerprint(load_recipe("digits"))


def test_parameters_are_set_as_a_whole():
    changed = imettk.load_recipe("digits", {"train.loss": "focal", "train.loss_params": {"gamma": 1.5}})
    assert changed.train.loss_params == {"gamma": 1.5}


def test_what_is_no_field_or_no_value_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"`train.lr` is not a field of the recipe; did you mean `stages.0.lr`\?"):
        imettk.load_recipe("digits", {"train.lr": 1})
    with pytest.raises(ConfigError, match=r"num_epochs"):
        imettk.load_recipe("digits", {"stages.0.num_epochs": "many"})
    with pytest.raises(ConfigError, match="plain values"):
        imettk.load_recipe("digits", {"train.seed": tmp_path})
    with pytest.raises(ConfigError, match="is not a recipe"):
        imettk.load_recipe("digit")


def test_recipes_of_own_files_are_loaded_with_what_they_define(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\nfrom imettk.recipes import RECIPES\n"
        "def twice(scores, targets):\n    return 2.0\n"
        "def recipe():\n    return replace(RECIPES['digits'](), name='mine')\n"
    )
    recipe = imettk.load_recipe(tmp_path / "mine.py", {"train.seed": 5})
    assert (recipe.name, recipe.train.seed) == ("mine", 5)
    (tmp_path / "recipe.json").write_text(to_json(recipe))
    assert imettk.load_recipe(tmp_path / "recipe.json") == recipe
