"""Rows of what a recipe names, its user's own among them, and whether they fit each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from imettk.config.choices import LOSSES, RULES, Loss, RuleChoice
from imettk.config.own import find_own
from imettk.errors import ConfigError

if TYPE_CHECKING:
    from imettk.config.recipe import Recipe
    from imettk.metrics import Scorer
    from imettk.tasks import Task

# Tasks and metrics are imported where they are asked for: they load numpy, which `--help` does without.


def task_of(recipe: Recipe) -> Task:
    """Return the task of a recipe's table."""
    from imettk.tasks import TASKS

    return TASKS[recipe.table.task]


def loss_row(recipe: Recipe, name: str) -> Loss | None:
    """Return the row of a loss; None where it stands in a recipe file that has not been run."""
    if name in LOSSES:
        return LOSSES[name]
    found = find_own(name, recipe.source_sha256)
    if found is None or isinstance(found, Loss):
        return found
    return Loss(make=found, targets=(task_of(recipe).targets,))


def rule_row(recipe: Recipe) -> RuleChoice | None:
    """Return the row of the recipe's rule; None as above."""
    name, task = recipe.rule.kind, task_of(recipe)
    if name in RULES:
        return RULES[name]
    found = find_own(name, recipe.source_sha256)
    if found is None or isinstance(found, RuleChoice):
        return found
    usual = RULES[task.rule]
    return RuleChoice(make=found, targets=(task.targets,), metric=usual.metric, gives=usual.gives)


def scorer_of(recipe: Recipe) -> Scorer | None:
    """Return the metric that a recipe is judged by, with its parameters; None as above."""
    from imettk.metrics import METRICS, Metric, bind

    rule, task = rule_row(recipe), task_of(recipe)
    name = recipe.score.metric or (None if rule is None else rule.metric)
    if name is None:
        return None
    metric = METRICS.get(name) or find_own(name, recipe.source_sha256)
    if metric is None:
        return None
    if not isinstance(metric, Metric):
        needs: Any = (rule or RULES[task.rule]).gives[0]  # a plain function judges what the rule is there for
        metric = Metric(needs, (task.targets,), metric, lambda params: name.partition(":")[2])
    said = {"beta": recipe.rule.beta, "average": recipe.rule.average, "k": recipe.ranking.num_answers}
    return bind(name, metric, task.targets, defaults=said, given=recipe.score.params)


def lower_is_better(recipe: Recipe) -> bool:
    """Return whether what `train.watch` follows is the better, the lower it is."""
    from imettk.metrics import METRICS

    watched, beside = recipe.train.watch, task_of(recipe).watched
    if watched in beside:
        return not METRICS[beside[watched]].higher
    return watched != "score" or not recipe.scorer.higher


def check_fits(recipe: Recipe, losses: Iterable[str]) -> None:
    """Raise `ConfigError` where a loss, the rule or the metric does not fit the task, or the metric the rule."""
    from imettk.metrics import METRICS

    targets, rule, scorer = task_of(recipe).targets, rule_row(recipe), scorer_of(recipe)
    metric = recipe.score.metric or ("" if rule is None else rule.metric)
    named: list[tuple[str, str, Any, Mapping[str, Any]]] = [
        *(("train.loss", name, loss_row(recipe, name), LOSSES) for name in sorted(losses)),
        ("rule.kind", recipe.rule.kind, rule, RULES),
        *([] if scorer is None or recipe.score.metric is None else [("score.metric", metric, scorer.metric, METRICS)]),
    ]
    misfits = [
        f"`{field}` {name} does not take (but {', '.join(other for other in rows if targets in rows[other].targets)})"
        for field, name, row, rows in named
        if row is not None and targets not in row.targets
    ]
    if misfits:
        raise ConfigError(f"a {recipe.table.task} table has {targets} for targets, which {', and '.join(misfits)}")
    if rule is not None and scorer is not None and scorer.needs not in rule.gives:
        fits = [other for other, row in METRICS.items() if targets in row.targets and row.needs in rule.gives]
        raise ConfigError(
            f"`score.metric` {metric} judges {scorer.needs}, and `rule.kind` {recipe.rule.kind} gives "
            f"{' and '.join(rule.gives)}: take {' or '.join(fits)}"
        )
