"""Parameters of losses: names, types and ranges are checked when the recipe is made, from JSON and from options."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, fields, replace

import pytest

from imettk.config import Recipe, StageConfig, TrainConfig, from_json, to_json
from imettk.config.choices import LOSSES, Loss
from imettk.config.overrides import apply_overrides
from imettk.config.own import register_source
from imettk.config.parameters import bind
from imettk.errors import ConfigError

FOCAL = Recipe(train=TrainConfig(loss="focal"))


def given(**params):
    return replace(FOCAL, train=TrainConfig(loss="focal", loss_params=params))


@pytest.mark.parametrize("name", [name for name, row in LOSSES.items() if row.params is not None])
def test_a_row_has_the_parameters_and_the_defaults_of_its_function(name):
    keywords = inspect.signature(LOSSES[name].load()).parameters.values()
    expected = {item.name: item.default for item in keywords if item.kind is inspect.Parameter.KEYWORD_ONLY}
    if LOSSES[name].by_part:
        del expected["parts"]  # which the table says
    if LOSSES[name].weighs:
        del expected["class_weights"]  # which a stage says
    assert {item.name: item.default for item in fields(LOSSES[name].params)} == expected


def test_json_and_defaults():
    recipe = given(gamma=1.5)
    assert from_json(to_json(recipe)) == recipe
    row, params = recipe.loss_row()
    assert row is LOSSES["focal"] and params == {"gamma": 1.5, "alpha": 0.25, "constant_weight": False}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"gama": 1.5}, "`train.loss_params` has gama, and the loss focal takes gamma, alpha, constant_weight"),
        ({"gamma": "x"}, "`train.loss_params` gamma must be float, got 'x'"),
        ({"gamma": True}, "`train.loss_params` gamma must be float, got True"),
        ({"constant_weight": 1}, "`train.loss_params` constant_weight must be bool, got 1"),
        ({"gamma": 0.5}, "`train.loss_params`: `gamma` of FocalParams must be 0, 1 or above, or any with constant_w"),
        ({"alpha": 1.0}, "`alpha` of FocalParams must be in (0, 1), got 1.0"),
        ({"gamma": float("inf")}, "`loss_params` of TrainConfig must be finite"),
        ({"gamma": float("nan")}, "`loss_params` of TrainConfig must be finite"),
        ({"gamma": None}, "train.loss_params.gamma: Input should be true or false, a number or text, got 'None'"),
        ({"gamma": [1]}, "train.loss_params.gamma: Input should be true or false, a number or text, got '[1]'"),
    ],
)
def test_a_wrong_parameter_is_one_clear_line(params, message):
    content = json.loads(to_json(FOCAL))
    content["train"]["loss_params"] = params
    with pytest.raises(ConfigError) as caught:
        from_json(json.dumps(content))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_loss_without_parameters_takes_none():
    with pytest.raises(
        ConfigError, match=r"`train\.loss_params` has gamma, and the loss bce takes no parameters; --train\."
    ):
        Recipe(train=TrainConfig(loss_params={"gamma": 1.0}))
    # The option without a value is the way out.
    assert apply_overrides(given(gamma=3.0), ["--train.loss", "bce", "--train.loss-params"]) == Recipe()


def test_a_stage_inherits_the_trainings_parameters_if_the_loss_is_the_same():
    recipe = replace(
        given(gamma=3.0, alpha=0.5),
        stages=(
            StageConfig(),
            StageConfig(loss="bce"),
            StageConfig(loss="focal", loss_params={"gamma": 4.0}),
            StageConfig(loss_params={"alpha": 0.1}),
        ),
    )
    params = [recipe.loss_row(stage)[1] for stage in recipe.stages]
    assert [(given.get("gamma"), given.get("alpha")) for given in params] == [
        (3, 0.5),
        (None, None),
        (4, 0.5),
        (3, 0.1),
    ]
    with pytest.raises(ConfigError, match=r"`stages.1.loss_params` has gamma, and the loss bce takes no parameters"):
        replace(FOCAL, stages=(StageConfig(), StageConfig(loss="bce", loss_params={"gamma": 1.0})))
    other = Recipe(stages=(StageConfig(loss="focal", loss_params={"gamma": 4.0}),))
    assert other.loss_row(other.stages[0])[1]["gamma"] == 4 and other.loss_row()[1] == {}


@pytest.mark.parametrize(
    ("words", "params"),
    [
        (["gamma", "1.5"], {"gamma": 1.5}),
        (["gamma", "3", "constant_weight", "true"], {"gamma": 3, "constant_weight": True}),
        ([], {}),
    ],
)
def test_an_option_replaces_all_parameters(words, params):
    before = replace(given(alpha=0.5), stages=(StageConfig(), StageConfig(loss_params={"gamma": 7.0})))
    changed = apply_overrides(before, ["--train.loss-params", *words, "--train.seed", "5"])
    assert changed == replace(before, train=TrainConfig(loss="focal", loss_params=params, seed=5))
    changed = apply_overrides(before, ["--stages.1.loss-params", *words])
    assert [stage.loss_params for stage in changed.stages] == [{}, params]
    assert changed.train == before.train


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gamma"], "--train.loss-params must be pairs of a name and a value, got 'gamma'"),
        (["gamma", "x"], "`train.loss_params` gamma must be float, got 'x'"),
    ],
)
def test_a_bad_option_is_one_clear_line(words, message):
    with pytest.raises(ConfigError) as caught:
        apply_overrides(given(gamma=3.0), ["--train.loss-params", *words])
    assert str(caught.value) == message


def own_loss(logits, targets, *, sharpness: float, power: int = 2, kind="plain"):
    return (logits - targets).abs().mean(1) ** power * sharpness


def test_a_users_own_function_has_its_keyword_only_parameters():
    assert bind("train.loss_params", "x", own_loss, {"sharpness": 2}) == {"sharpness": 2.0}
    for params, message in (
        ({}, "must have sharpness: x has no default for it"),
        ({"sharpness": 1.0, "power": 0.5}, "`train.loss_params` power must be int, got 0.5"),
        ({"sharpness": 1.0, "kind": 3}, "`train.loss_params` kind must be str, got 3"),
        ({"sharpness": 1.0, "logits": 1}, "has logits, and x takes sharpness, power, kind"),
    ):
        with pytest.raises(ConfigError, match=message):
            bind("train.loss_params", "x", own_loss, params)


@dataclass(frozen=True, kw_only=True)
class OwnParams:
    power: int
    sharpness: float = 1.0

    def __post_init__(self):
        if self.power < 1:
            raise ValueError(f"`power` must be at least 1, got {self.power}")


def test_a_users_own_row_has_a_dataclass_of_its_own(monkeypatch):
    monkeypatch.setattr("imettk.config.own._SOURCES", {})
    row = Loss(make=own_loss, targets=("labels",), params=OwnParams)
    register_source("", {"mine": row, "plain": own_loss})
    recipe = Recipe(train=TrainConfig(loss="recipe:mine", loss_params={"power": 2}))
    assert recipe.loss_row() == (row, {"power": 2, "sharpness": 1.0})
    with pytest.raises(ConfigError, match=r"`train\.loss_params`: `power` must be at least 1, got 0"):
        Recipe(train=TrainConfig(loss="recipe:mine", loss_params={"power": 0}))
    with pytest.raises(ConfigError, match="must have power: the loss recipe:mine has no default for it"):
        Recipe(train=TrainConfig(loss="recipe:mine"))
    with pytest.raises(ConfigError, match="must have sharpness: the loss recipe:plain has no default for it"):
        Recipe(train=TrainConfig(loss="recipe:plain"))
