"""A recipe's rule: fitted, read back, and scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from imettk.config import Recipe
from imettk.config.choices import UNIT_POOLS
from imettk.errors import MismatchError
from imettk.postprocess.fitters import FitContext, RuleFitter, make_fitter, rule_class
from imettk.postprocess.rule import Rule

if TYPE_CHECKING:
    from imettk.models.heads import Outputs

POOL = "unit_pool"  # in `rule.json`: how predictions of several images become one, where they give one answer


def fitter_of(
    recipe: Recipe,
    label_groups: tuple[str, ...] = (),
    given_shares: np.ndarray | None = None,
    *,
    labels: tuple[str, ...] = (),
) -> RuleFitter:
    """Return the fitter of the recipe's rule, which knows what its metric judges.

    Args:
        label_groups: of each label, (C,).
        given_shares: of each label, float64 (C,), where the recipe names a table of them.
        labels: their names, (C,), if answers are read, or depend on names.

    Raises:
        ConfigError: the rule cannot answer with these labels, or the metric cannot judge its answers.
    """
    context = FitContext(
        recipe.fitted_rule,
        label_groups,
        given_shares,
        task=recipe.task,
        columns=recipe.table.label_answers,
        labels=labels,
        scorer=recipe.scorer,
    )
    return make_fitter(recipe.rule_row.load(), context)


def rule_from_json(recipe: Recipe, content: dict[str, Any]) -> Rule:
    """Return the fitted rule that `rule.json` holds."""
    if recipe.table.has_units:
        content = {name: value for name, value in content.items() if name != POOL}
    return rule_class(recipe.rule_row.load()).from_json(content)


def pool_from_json(recipe: Recipe, content: dict[str, Any]) -> str | None:
    """Return the pool of units that `rule.json` holds, None if each image is answered by itself.

    Raises:
        MismatchError: it holds none, and there are units.
    """
    if not recipe.table.has_units:
        return None
    if (pool := content.get(POOL)) not in UNIT_POOLS:
        raise MismatchError(f"rule.json names no pool of several images ({pool!r}): run `imettk validate` again")
    return str(pool)


def score_quickly(fitter: RuleFitter, probs: np.ndarray, targets: np.ndarray) -> float:
    """Return the score of these rows by a quick rule fitted on them: only differences of such scores count."""
    answers = fitter.fit_quickly(probs, targets).apply(probs) if fitter.judges_answers else probs
    return fitter.scorer.score(*fitter.judged(answers, probs, targets))


def merge_outputs(recipe: Recipe, outputs: list[Outputs], rows: np.ndarray) -> np.ndarray:
    """Merge the outputs of folds and views for some images, float (M, O).

    Args:
        outputs: of each fold, logits (V, N, O).
        rows: images, int64 (M,).
    """
    scale = recipe.embedding.scale if recipe.model.embeds else 1.0
    probs = np.stack([recipe.task.activate(scale * part.logits[:, rows]).numpy() for part in outputs])
    return (probs.max(1) if recipe.predict.merge == "max" else probs.mean(1)).mean(0)
