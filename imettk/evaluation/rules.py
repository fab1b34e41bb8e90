"""A recipe's rule as it is fitted, read back, and scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from imettk.config import Recipe
from imettk.metrics import Scorer
from imettk.postprocess.fitters import FitContext, RuleFitter, make_fitter, rule_class
from imettk.postprocess.rule import Rule

if TYPE_CHECKING:
    from imettk.models.heads import Outputs


def fitter_of(recipe: Recipe, label_groups: tuple[str, ...] = (), given_shares: np.ndarray | None = None) -> RuleFitter:
    """Return what fits the recipe's rule.

    Args:
        label_groups: of each label, (C,).
        given_shares: of each label, float64 (C,), where the recipe names a table of them.
    """
    columns = recipe.table.label_answers
    context = FitContext(recipe.rule, label_groups, given_shares, task=recipe.task, columns=columns)
    return make_fitter(recipe.rule_row.load(), context)


def rule_from_json(recipe: Recipe, content: dict[str, Any]) -> Rule:
    """Return the fitted rule that `rule.json` holds."""
    return rule_class(recipe.rule_row.load()).from_json(content)


def judged(scorer: Scorer, answers: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return which of the two the metric judges."""
    return {"answers": answers, "probs": probs, "values": probs}[scorer.needs]


def score_quickly(recipe: Recipe, fitter: RuleFitter, probs: np.ndarray, targets: np.ndarray) -> float:
    """Return what these rows score by a quick rule that was fitted on them: only differences of it count."""
    scorer = recipe.scorer
    if scorer.needs != "answers":  # then no rule need be fitted
        return scorer.score(probs, targets)
    return scorer.score(fitter.fit_quickly(probs, targets).apply(probs), targets)


def merge_outputs(recipe: Recipe, outputs: list[Outputs], rows: np.ndarray) -> np.ndarray:
    """Return what folds and views together give some images, float (M, O).

    Args:
        outputs: of each fold, logits (V, N, O).
        rows: images, int64 (M,).
    """
    scale = recipe.embedding.scale if recipe.model.embeds else 1.0
    probs = np.stack([recipe.task.activate(scale * part.logits[:, rows]).numpy() for part in outputs])
    return (probs.max(1) if recipe.predict.merge == "max" else probs.mean(1)).mean(0)
