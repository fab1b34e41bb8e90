"""Grids of recipes, from the values that `--vary` gives."""

from __future__ import annotations

import pytest

from imettk.errors import ConfigError
from imettk.experiment.grid import MOST, make_grid, parse_vary, split_outside
from imettk.recipes.digits import digits


def test_every_combination_is_a_recipe_and_the_base_comes_first():
    vary = parse_vary(["stages.0.lr=1e-3,6e-3", "--stages.0.mixup=0, 0.4", "images.image-size=32 48"])
    assert vary["images.image_size"] == ["32 48"]
    grid = make_grid(digits(), vary)
    made = [(recipe.stages[0].lr, recipe.stages[0].mixup, recipe.images.image_size) for _, recipe in grid]
    size = (32, 48)
    assert made[0] == ((6e-3,), 0.0, (48, 48)) and grid[0][1] == digits()
    assert made[1:] == [((1e-3,), 0.0, size), ((1e-3,), 0.4, size), ((6e-3,), 0.0, size), ((6e-3,), 0.4, size)]
    assert grid[0][0] == {"stages.0.lr": "0.006", "stages.0.mixup": "0.0", "images.image_size": "48 48"}
    assert grid[2][0] == {"stages.0.lr": "1e-3", "stages.0.mixup": "0.4", "images.image_size": "32 48"}


def test_a_combination_that_is_there_already_is_left_out():
    grid = make_grid(digits(), parse_vary(["stages.0.lr=0.006,1e-3,0.001"]))
    assert [recipe.stages[0].lr for _, recipe in grid] == [(0.006,), (0.001,)]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["stages.0.lr"], "--vary must be FIELD=VALUE,VALUE such as stages.0.lr=1e-3,3e-3, got 'stages.0.lr'"),
        (["stages.0.lr=1e-3,"], "got 'stages.0.lr=1e-3,'"),
        (["train.seed=1", "train.seed=2"], "--vary train.seed is given twice"),
        (["train.lr=1e-3"], "`train.lr` is not a field of the recipe; did you mean `stages.0.lr`?"),
        (["stages.0.mixup=much"], "--stages.0.mixup must be float, got 'much'"),
        (["folds.num-folds=3,4"], "recipes of a search share their table and folds, got folds.num_folds: 3 -> 4"),
        (
            ["score.metric=f_beta,roc_auc"],
            "train the same weights for each value: train once, and run `imettk validate",
        ),
        (["predict.image-size=32 32"], "`imettk validate --predict.image-size VALUE`"),
        (["predict.size=32 32"], "`predict.size` is not a field of the recipe; did you mean"),
        (["session.limit-seconds=900"], "--vary session.limit_seconds would change no score"),
        (["cache.quality=80"], "--vary cache.quality would change no score"),
        (["stages.0.lr=0.006,6e-3"], "only values that the recipe has already"),
        ([f"train.seed={','.join(map(str, range(40)))}"], "--vary gives 40 recipes, and a search takes at most 32"),
        ([f"train.seed={','.join(map(str, range(MOST)))}", "stages.0.mixup=0,0.4"], f"{MOST} x 2 = 64 recipes"),
    ],
)
def test_a_wrong_grid_is_one_line(options, line):
    with pytest.raises(ConfigError) as caught:
        make_grid(digits(), parse_vary(options))
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_values_may_have_commas_and_spaces_in_brackets_and_quotes():
    vary = parse_vary(["stages.0.transforms=RandAugment(2, 9),Blur(p=0.5) Flip(k='a, b)')", "train.seed=1"])
    assert vary["stages.0.transforms"] == ["RandAugment(2, 9)", "Blur(p=0.5) Flip(k='a, b)')"]
    assert split_outside(vary["stages.0.transforms"][1], " ") == ["Blur(p=0.5)", "Flip(k='a, b)')"]
    grid = make_grid(digits(), {"stages.0.transforms": ["Rotate(limit=[1, 2], p=0.3) HorizontalFlip()"]})
    assert grid[0][0] == {"stages.0.transforms": "()"}
    assert grid[1][1].stages[0].transforms == ("Rotate(limit=[1, 2], p=0.3)", "HorizontalFlip()")
    assert split_outside("[1, {2: 3}], 4,", ",") == ["[1, {2: 3}]", " 4", ""]
