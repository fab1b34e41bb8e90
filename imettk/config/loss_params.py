"""Parameters of losses with their ranges, and what a recipe has to say for a loss to be taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imettk.config.section import Parameter, Section
from imettk.errors import UserError

if TYPE_CHECKING:
    from imettk.config.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class FocalParams(Section):
    """Parameters of `losses.focal`."""

    gamma: float = 2.0
    alpha: float = 0.25
    constant_weight: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        lowest = 0.0 if self.constant_weight else 1.0  # the gradient of a power below 1 is infinite where it is 0
        in_range = self.gamma == 0 or self.gamma >= lowest
        self._require(in_range, "gamma", "0, 1 or above, or any with constant_weight")
        self._require(0 < self.alpha < 1, "alpha", "in (0, 1)")


@dataclass(frozen=True, kw_only=True)
class TargetWeights(Section):
    """What losses of numbers, or questions, have in common: a weight each, with blanks between; "" for equal ones."""

    weights: str = ""


@dataclass(frozen=True, kw_only=True)
class HuberParams(TargetWeights):
    """Parameters of `losses.huber`."""

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.delta > 0, "delta", "above 0")


def weighs_targets(recipe: Recipe) -> str | None:
    """Return what is wrong with the weights of the targets, or questions, in any stage."""
    from imettk.metrics.values import target_weights

    answered, learned = (len(names) for names in (recipe.table.number_columns, recipe.table.learned_columns))
    for params in (recipe.train.loss_params, *(stage.loss_params for stage in recipe.stages)):
        try:
            target_weights(str(params.get("weights", "")), learned)
            target_weights(str(answered_params(params, answered).get("weights", "")), answered)
        except UserError as error:
            return f"`loss_params`: {error}"
    return None


def answered_params(params: Mapping[str, Parameter], number: int) -> dict[str, Parameter]:
    """Return parameters of a loss without the weights behind so many, which are of columns that are not answered."""
    weights = str(params.get("weights", "")).replace(",", " ").split()
    return dict(params) | ({"weights": " ".join(weights[:number])} if len(weights) > number else {})


def in_radians(recipe: Recipe) -> str | None:
    """Return what is wrong with the margin of arcface."""
    margin = recipe.embedding.margin
    if margin < math.pi / 2:
        return None
    return f"`embedding.margin` must be in [0, pi/2) radians for arcface, got {margin}; is it in degrees?"
