"""Parameters of losses with their ranges, and checks of a recipe against its losses."""

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
        # The gradient of x ** gamma is infinite at x = 0 for gamma below 1; a constant weight has no gradient.
        lowest = 0.0 if self.constant_weight else 1.0
        in_range = self.gamma == 0 or self.gamma >= lowest
        self._require(in_range, "gamma", "0, 1 or above, or any with constant_weight")
        self._require(0 < self.alpha < 1, "alpha", "in (0, 1)")


@dataclass(frozen=True, kw_only=True)
class TargetWeights(Section):
    """Parameters of losses of numbers and of questions: a weight for each, separated by spaces; "" for equal ones."""

    weights: str = ""


@dataclass(frozen=True, kw_only=True)
class HuberParams(TargetWeights):
    """Parameters of `losses.huber`."""

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.delta > 0, "delta", "above 0")


def weighs_targets(recipe: Recipe) -> str | None:
    """Return a message if the weights of the targets, or questions, are wrong in any stage; else None."""
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
    """Return parameters of a loss with the first `number` weights; the others belong to auxiliary columns."""
    weights = str(params.get("weights", "")).replace(",", " ").split()
    return dict(params) | ({"weights": " ".join(weights[:number])} if len(weights) > number else {})


def in_radians(recipe: Recipe) -> str | None:
    """Return a message if the margin of arcface is not in radians; else None."""
    margin = recipe.embedding.margin
    if margin < math.pi / 2:
        return None
    return f"`embedding.margin` must be in [0, pi/2) radians for arcface, got {margin}; is it in degrees?"
