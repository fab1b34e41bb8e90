"""What a training is judged by while it runs: the points of a curve."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from imettk.config import Recipe
from imettk.inference.predictor import to_probs
from imettk.losses import make_loss
from imettk.metrics import focal_loss
from imettk.stages.rules import RuleFitter, score
from imettk.stages.shared import Compute, Prepared, evaluate
from imettk.training.team import Team


def loss_of(recipe: Recipe, name: str | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of this name, or the recipe's own."""
    plan = recipe.train
    return make_loss(
        name or plan.loss, gamma=plan.focal_gamma, alpha=plan.focal_alpha, constant_weight=plan.focal_constant
    )


def make_validation(
    recipe: Recipe, prepared: Prepared, fold: int, compute: Compute, team: Team
) -> Callable[[nn.Module], dict[str, float]]:
    """What the trainer calls between steps: loss, and score with a rule fitted on the same rows (a curve only).

    Each process predicts its part of the rows; the first one counts.
    """
    rows = prepared.rows(fold, valid=True)
    targets, fitter = prepared.targets[rows], RuleFitter(recipe, prepared.table.label_groups, prepared.given_shares)

    def run_validation(network: nn.Module) -> dict[str, float]:
        first, last = len(rows) * team.rank // team.size, len(rows) * (team.rank + 1) // team.size
        part = evaluate(network, prepared.source, rows[first:last], recipe, compute, views=("plain",))[0]
        logits = team.gather(part)
        if not team.is_main:
            return {}
        probs = to_probs(logits, multiclass=recipe.table.task == "multiclass")
        rule = fitter.fit_quickly(probs, targets)
        loss = float(loss_of(recipe)(logits, torch.from_numpy(targets)).mean())
        metrics = {"loss": loss, "score": score(recipe, rule.apply(probs), targets)}
        return metrics if recipe.table.task == "multiclass" else metrics | {"focal": focal_loss(probs, targets)}

    return run_validation
