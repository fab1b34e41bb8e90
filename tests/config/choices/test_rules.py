"""Every rule has its implementation, and a judge, a metric and tasks that fit it."""

import inspect
from dataclasses import fields

import pytest

from imettk.config import Recipe
from imettk.config.choices import LOSSES, load
from imettk.config.choices.choice import CLASSES, GRADES, LABELS, QUESTIONS, VALUES, VOTES
from imettk.config.choices.rules import RULES
from imettk.evaluation.judge import Judge
from imettk.metrics import METRICS
from imettk.postprocess.fitters import RuleFitter
from imettk.tasks import TASKS


@pytest.mark.parametrize("name", RULES)
def test_a_rule_has_a_judge_and_a_metric_that_it_can_be_judged_by(name):
    row = RULES[name]
    metric = METRICS[row.metric]
    assert metric.needs in row.gives and set(row.targets) <= set(metric.targets)
    assert set(row.sections) <= {field.name for field in fields(Recipe)}
    judge = load(row.judge)
    assert issubclass(judge, Judge) and not inspect.isabstract(judge)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_fitted_unless_it_gives_ranked_answers(name):
    made = RULES[name].load()
    if RULES[name].gives == ("ranked",):
        assert made is None
    else:
        assert issubclass(made, RuleFitter) and not inspect.isabstract(made)


@pytest.mark.parametrize("name", TASKS)
def test_the_defaults_of_a_task_fit_it(name):
    task = TASKS[name]
    assert task.targets in (LABELS, CLASSES, GRADES, VALUES, VOTES, QUESTIONS)
    assert task.targets in LOSSES[task.loss].targets and task.targets in RULES[task.rule].targets
    reported = {*task.watched.values(), *(metric for metric, _ in task.reported.values())}
    for metric in (METRICS[metric] for metric in reported):
        assert task.targets in metric.targets and metric.needs in RULES[task.rule].gives
    for metric, params in task.reported.values():
        assert set(params) <= set(METRICS[metric].params)


@pytest.mark.parametrize("rows", [RULES, METRICS], ids=["rules", "metrics"])
def test_every_form_of_targets_is_that_of_a_task(rows):
    assert {form for row in rows.values() for form in row.targets} == {task.targets for task in TASKS.values()}
