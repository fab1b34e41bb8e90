"""Rows of the names in a recipe, with rows made for a user's own code, and checks that they fit each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imettk.config.answers import RuleConfig
from imettk.config.choices import LABELS, LOSSES, RULES, Choice, Loss, RuleChoice
from imettk.config.own import find_own, refer
from imettk.config.parameters import bind as bind_params
from imettk.config.parameters import keyword_defaults
from imettk.config.section import Parameter
from imettk.config.units import check_pool
from imettk.errors import ConfigError, UserError

if TYPE_CHECKING:
    from imettk.config.recipe import Recipe
    from imettk.config.stage import StageConfig
    from imettk.metrics import Scorer
    from imettk.tasks import Task
    from imettk.tasks.scale import Kind

# Forms of outputs in words.
OUTPUTS = {"answers": "answers", "probs": "probabilities", "values": "numbers", "ranked": "ranked answers"}
# Tasks and metrics are imported inside functions: they load numpy, which `--help` does without.


def task_of(recipe: Recipe) -> Task:
    """Return the task of a recipe's table."""
    from imettk.tasks import TASKS

    return TASKS[recipe.table.task]


def choice_of(recipe: Recipe, name: str, rows: Mapping[str, Choice]) -> Choice:
    """Return the row with this name, or one for a user's own code; raise `ConfigError` as `own.refer` does."""
    return rows[name] if name in rows else Choice(make=refer(name, recipe.source_sha256))


def loss_row(recipe: Recipe, name: str) -> Loss | None:
    """Return the row of a loss; None if a recipe's file that has not been run defines it."""
    if name in LOSSES:
        return LOSSES[name]
    own = find_own(name, recipe.source_sha256)
    if own is None or isinstance(own, Loss):
        return own
    return Loss(make=own, targets=(task_of(recipe).targets,))


def stage_loss(recipe: Recipe, stage: StageConfig | None) -> tuple[str, dict[str, Parameter]]:
    """Return the name of a stage's loss, or the training's for None, and the parameters that the recipe gives it."""
    train = recipe.train
    if stage is None:
        return train.loss, train.loss_params
    name = stage.loss or train.loss
    return name, (train.loss_params if name == train.loss else {}) | stage.loss_params


def loss_names(recipe: Recipe) -> list[str]:
    """Return the names of all losses of a recipe, sorted."""
    return sorted({stage_loss(recipe, stage)[0] for stage in (None, *recipe.stages)})


def rule_row(recipe: Recipe) -> RuleChoice | None:
    """Return the row of the recipe's rule; None as in `loss_row`."""
    name, task = recipe.rule.kind, task_of(recipe)
    if name in RULES:
        return RULES[name]
    own = find_own(name, recipe.source_sha256)
    if own is None or isinstance(own, RuleChoice):
        return own
    default = RULES[task.rule]
    return RuleChoice(make=own, targets=(task.targets,), metric=default.metric, gives=default.gives)


def answers_one_column(recipe: Recipe) -> bool:
    """Return whether answers are one column of probabilities, which metrics then score as those of a single label."""
    rule = rule_row(recipe)
    by_column = rule is not None and rule.by_column and recipe.rule.pairs is None
    return by_column and len(recipe.table.label_answers) <= 1


def scorer_of(recipe: Recipe) -> Scorer | None:
    """Return the metric that a recipe is judged by, bound to its parameters; None as in `loss_row`."""
    from imettk.metrics import Metric, bind, find_metric

    rule, task, given = rule_row(recipe), task_of(recipe), recipe.score.params
    name = recipe.score.metric or (None if rule is None else rule.metric)
    if name is None:
        return None
    row, defaults = find_metric(name), {}
    if row is None:
        metric = find_own(name, recipe.source_sha256)
    else:
        metric, named = row
        for key, value in named.items():
            if given.get(key, value) != value:
                raise ConfigError(f"`score.metric` {name} and `score.params` {key} {given[key]} differ: leave out one")
        given = {**given, **named}
        defaults = {"beta": recipe.rule.beta, "average": recipe.rule.average, "k": recipe.ranking.num_answers}
    if metric is None:
        return None
    if not isinstance(metric, Metric):
        needs: Any = (rule or RULES[task.rule]).gives[0]  # a plain function scores what is submitted
        title = name.partition(":")[2]
        metric = Metric(needs, (task.targets, LABELS), metric, lambda params: title, params=keyword_defaults(metric))
    form = LABELS if answers_one_column(recipe) else task.targets
    scorer = bind(name, metric, form, defaults=defaults, given=given)
    if row is not None and scorer.needs == "ranked" and scorer.params["k"] > recipe.ranking.num_answers:
        raise ConfigError(
            f"k of `score.metric` {name} must be at most `ranking.num_answers`, {recipe.ranking.num_answers}, got "
            f"{scorer.params['k']}"
        )
    return scorer


def fitted_rule(recipe: Recipe) -> RuleConfig:
    """Return the section `rule` with the F-beta to fit thresholds for: its own if it is set, else the metric's."""
    rule, default, scorer = recipe.rule, RuleConfig(), scorer_of(recipe)
    if scorer is None or scorer.goal is None or (rule.beta, rule.average) != (default.beta, default.average):
        return rule
    beta, average = scorer.goal
    return replace(rule, beta=beta, average=average)


def lower_is_better(recipe: Recipe) -> bool:
    """Return True if lower values of `train.watch` are better."""
    from imettk.metrics import METRICS

    watched, extra = recipe.train.watch, task_of(recipe).watched
    if watched in extra:
        return not METRICS[extra[watched]].higher
    return watched != "score" or not recipe.scorer.higher


def check_fits(recipe: Recipe) -> None:
    """Raise `ConfigError` if a loss, the rule or the metric does not fit the task, or the metric the rule."""
    from imettk.metrics import METRICS

    targets, rule, scorer = task_of(recipe).targets, rule_row(recipe), scorer_of(recipe)
    metric = recipe.score.metric or ("" if rule is None else rule.metric)
    named: list[tuple[str, str, Any, Mapping[str, Any]]] = [
        *(("train.loss", name, loss_row(recipe, name), LOSSES) for name in loss_names(recipe)),
        ("rule.kind", recipe.rule.kind, rule, RULES),
        *([] if scorer is None or recipe.score.metric is None else [("score.metric", metric, scorer.metric, METRICS)]),
    ]
    misfits = [
        f"`{field}` {name} does not take them (use {', '.join(fit for fit in rows if targets in rows[fit].targets)})"
        for field, name, row, rows in named
        if row is not None and targets not in row.targets
    ]
    if misfits:
        raise ConfigError(f"the targets of a {recipe.table.task} table are {targets}: {', and '.join(misfits)}")
    if rule is not None and scorer is not None and scorer.needs not in rule.gives:
        fitting = [name for name, row in METRICS.items() if targets in row.targets and row.needs in rule.gives]
        raise ConfigError(
            f"`score.metric` {metric} judges {OUTPUTS[scorer.needs]}, and `rule.kind` {recipe.rule.kind} gives "
            f"{' and '.join(OUTPUTS[form] for form in rule.gives)}: use {' or '.join(fitting)}"
        )
    _check_numbers(recipe)
    check_pool(recipe)
    if scorer is not None and rule is not None and rule.by_column:
        _check_columns(recipe, scorer)


def target_scale(recipe: Recipe) -> Kind:
    """Return the scale in which numbers are learned: that of the loss, else `train.target_scale`."""
    row = loss_row(recipe, recipe.train.loss)
    return (None if row is None else row.scale) or recipe.train.target_scale


def _check_numbers(recipe: Recipe) -> None:
    """Raise `ConfigError` if settings for numbers are used without numbers, or numbers with settings for labels."""
    numeric, train = task_of(recipe).numeric, recipe.train
    scales = {(None if row is None else row.scale) for row in (loss_row(recipe, name) for name in loss_names(recipe))}
    if len(scales) > 1:  # all stages train the same outputs, which `infer` scales back in one way
        raise ConfigError(f"the losses {', '.join(loss_names(recipe))} need numbers in different scales: use one")
    if train.target_scale != "standard" and (not numeric or scales != {None}):
        why = f"the loss {train.loss} has a scale of its own" if numeric else "only numbers are scaled"
        raise ConfigError(f"`train.target_scale` must be standard, got {train.target_scale}: {why}")
    if train.vote_weight and not task_of(recipe).votes:
        raise ConfigError(f"`train.vote_weight` must be 0 for rows without votes, got {train.vote_weight:g}")
    smoothed = [number for number, stage in enumerate(recipe.stages) if stage.label_smoothing]
    if smoothed and not task_of(recipe).smooths:
        kind = "numbers, which cannot be spread over labels" if numeric else f"a {recipe.table.task} table"
        raise ConfigError(f"`stages.{smoothed[0]}.label_smoothing` must be 0 for {kind}")
    if numeric or task_of(recipe).asks_columns:
        _check_weights(recipe)
    if task_of(recipe).asks_columns and not recipe.table.label_answers:
        raise ConfigError("`table.answer_column` must be none for questions: set `table.answer_columns`")
    if not numeric:
        return
    if recipe.predict.merge != "mean":
        raise ConfigError(f"`predict.merge` must be mean for numbers, got {recipe.predict.merge}")
    if len(recipe.table.label_columns) > 1 and not recipe.table.label_answers:
        raise ConfigError("`table.answer_column` must be none for several numbers: set `table.answer_columns`")


def _check_weights(recipe: Recipe) -> None:
    """Raise `ConfigError` unless the metric has one weight for each answered column."""
    from imettk.metrics import METRICS
    from imettk.metrics.values import target_weights

    scorer = scorer_of(recipe)
    weighted = scorer is not None and any(scorer.metric is row for row in METRICS.values())
    if scorer is not None and weighted and "weights" in scorer.params:
        try:
            target_weights(str(scorer.params["weights"]), len(recipe.table.number_columns))
        except UserError as error:
            raise ConfigError(f"`score.params` for the metric {scorer.name}: {error}") from None


def _check_columns(recipe: Recipe, scorer: Scorer) -> None:
    """Raise `ConfigError` if a metric does not fit the submission's columns of probabilities."""
    from imettk.metrics import METRICS

    for field in ("calibrate", "pairs"):
        if getattr(recipe.rule, field) is not None and field not in scorer.metric.wants:
            rows = ((name, row) for name, row in METRICS.items() if task_of(recipe).targets in row.targets)
            served = " or ".join(name for name, row in rows if field in row.wants)
            raise ConfigError(f"`rule.{field}` serves `score.metric` {served}, and it is {scorer.name}: leave it out")
    if recipe.rule.pairs is not None and len(recipe.table.label_answers) > 1:
        raise ConfigError(
            "`rule.pairs` puts labels and their probabilities into one column, and `table.answer_columns` names "
            f"{len(recipe.table.label_answers)}: leave one of them out"
        )
    if answers_one_column(recipe) and "pairs" in scorer.metric.wants:
        raise ConfigError(f"`score.metric` {scorer.name} judges labels with their probability: set `rule.pairs` to 1")
    if answers_one_column(recipe) and LABELS not in scorer.metric.targets:
        raise ConfigError(
            f"`score.metric` {scorer.name} judges all classes of a row, and the submission has one column of "
            "probabilities: name one column for each class in `table.answer_columns`"
        )


def check_losses(recipe: Recipe) -> None:
    """Raise `ConfigError` if parameters do not fit their loss, or the losses the network."""
    for number, stage in enumerate((None, *recipe.stages), -1):
        name, given = stage_loss(recipe, stage)
        row = loss_row(recipe, name)
        if row is not None:
            field = "train" if stage is None else f"stages.{number}"
            # A stage may add to the training's parameters, so their ranges can only be checked together.
            bind_params(f"{field}.loss_params", f"the loss {name}", row.own_params, given)
            if row.check is not None and (message := row.check(recipe)):
                raise ConfigError(message)
            if stage is not None and stage.weighs_classes and not row.weighs:
                raise ConfigError(f"`{field}.class_weights` must be none, {_who_weighs(name, row)}")
    _check_embeddings(recipe)


def _who_weighs(name: str, row: Loss) -> str:
    """Say that a loss takes no weights, and which ones for the same targets do."""
    fitting = [name for name, other in LOSSES.items() if other.weighs and set(other.targets) & set(row.targets)]
    use = f": use {' or '.join(fitting)}" if fitting else ""
    return f"and `label_weights` empty: the loss {name} takes no weights of classes{use}"


def _check_embeddings(recipe: Recipe) -> None:
    """Raise `ConfigError` if losses of embeddings and the network do not fit each other."""
    model, embeds = recipe.model, recipe.model.embeds
    rows = {name: loss_row(recipe, name) for name in loss_names(recipe)}
    taken, losses = {row.takes for row in rows.values() if row is not None}, ", ".join(rows)
    if None in rows.values():  # a recipe's file that has not been run: checked when it is given as RECIPE
        return
    if embeds != bool(taken & {"cosines", "embeddings"}) or (embeds and "logits" in taken):
        known = ", ".join(name for name, row in LOSSES.items() if row.takes != "logits")
        raise ConfigError(
            f"`model.head` embedding and a `train.loss` of embeddings ({known}) need each other, got {model.head} and "
            f"{losses}"
        )
    if "cosines" in taken and model.centres == 0:
        raise ConfigError(f"`model.centres` must be at least 1 for the cosines that {losses} takes, got 0")
    if embeds and model.centres and "cosines" not in taken:  # centres without a gradient would stay random
        raise ConfigError(f"`model.centres` must be 0 for {losses}, got {model.centres}")
    if embeds and recipe.train.teacher:
        raise ConfigError("`train.teacher` mixes targets, which no loss of embeddings can take")
    if recipe.embedding.mirrored_identities and not embeds:
        raise ConfigError("`embedding.mirrored_identities` needs a `model.head` embedding")
    for position, stage in enumerate(recipe.stages):
        if embeds and (stage.mixes or stage.label_smoothing):
            raise ConfigError(
                f"`stages.{position}` mixes images or smooths labels, which no loss of embeddings can take"
            )
