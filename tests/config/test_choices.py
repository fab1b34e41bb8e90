"""Every row's implementation is there, and every field that names a row knows its names."""

import inspect
import math
import subprocess
import sys
import typing
from dataclasses import fields

import pytest

from imettk.config import Recipe
from imettk.config.choices import (
    AUGMENTATIONS,
    BACKBONES,
    CHOSEN,
    CLASSES,
    GRADES,
    HEADS,
    LABELS,
    LOSSES,
    POOLS,
    QUESTIONS,
    READERS,
    RULES,
    SAMPLERS,
    VALUES,
    VIEWS,
    VOTES,
    Choice,
    load,
)
from imettk.config.fields import field_names, field_type
from imettk.config.own import LIBRARIES, Own
from imettk.errors import ConfigError
from imettk.evaluation.judge import Judge
from imettk.metrics import METRICS
from imettk.postprocess.fitters import RuleFitter
from imettk.tasks import TASKS

ROWS = {
    f"{kind} {name}": row
    for kind, rows in {
        "augmentation": AUGMENTATIONS,
        "backbone": BACKBONES,
        "head": HEADS,
        "pool": POOLS,
        "sampler": SAMPLERS,
        "view": VIEWS,
    }.items()
    for name, row in rows.items()
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_implementation_of_every_row_is_there(row):
    assert callable(row.load())
    assert all(callable(load(getattr(row, name))) for name in ("pooled", "fetch") if getattr(row, name, None))


def test_one_reader_goes_by_the_content_of_files():
    assert [name for name, row in READERS.items() if row.load() is None] == ["files"]


@pytest.mark.parametrize("field", CHOSEN)
def test_every_field_that_names_a_row_knows_its_names(field):
    section, _, leaf = field.rpartition(".")
    name = f"stages.0.{leaf}" if section == "stages" else field
    assert name in field_names(Recipe())
    assert field_type(Recipe(), name).removeprefix("one or more of ").removeprefix("one of ") == ", ".join(
        CHOSEN[field]
    )
    owner = Recipe().stages[0] if section == "stages" else getattr(Recipe(), section)
    value = ("no_such_row",) if isinstance(getattr(owner, leaf), tuple) else "no_such_row"
    if typing.get_type_hints(type(owner))[leaf] in (str, str | None, tuple[str, ...]):
        with pytest.raises(
            ConfigError, match=rf"`{leaf}` of {type(owner).__name__} must be .*{list(CHOSEN[field])[-1]}"
        ):
            type(owner)(**{leaf: value})


def test_libraries_of_backbones_are_no_users_own():
    assert set(BACKBONES) <= set(LIBRARIES)


def test_a_row_may_be_an_object_a_reference_or_a_users_own():
    assert load(len) is len and load("math:floor") is load(Own("math:floor", ""))


def test_a_reference_is_imported_and_anything_else_stays_as_it_is():
    assert load("math:sqrt") is math.sqrt and Choice(make="os.path:join").load() is __import__("os").path.join
    assert load(math.sqrt) is math.sqrt and load(None) is None
    with pytest.raises(AttributeError, match="no_such"):
        load("math:no_such")


def test_rows_are_read_without_what_they_refer_to():
    code = "import sys, imettk.config.choices; print({'torch', 'numpy', 'imettk.losses'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_takes_two_things_and_parameters_by_name(name):
    parameters = [*inspect.signature(LOSSES[name].load()).parameters.values()]
    assert [one.kind for one in parameters[:2]] == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 2
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in parameters[2:])
    assert LOSSES[name].takes == "logits" or LOSSES[name].targets == (CLASSES,)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_has_a_judge_and_a_metric_that_it_can_be_judged_by(name):
    row = RULES[name]
    metric = METRICS[row.metric]
    assert metric.needs in row.gives and set(row.targets) <= set(metric.targets)
    assert set(row.sections) <= {one.name for one in fields(Recipe)}
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
    beside = {*task.watched.values(), *(metric for metric, _ in task.reported.values())}
    for metric in (METRICS[one] for one in beside):
        assert task.targets in metric.targets and metric.needs in RULES[task.rule].gives
    for metric, params in task.reported.values():
        assert set(params) <= set(METRICS[metric].params)


@pytest.mark.parametrize("rows", [LOSSES, RULES, METRICS], ids=["losses", "rules", "metrics"])
def test_every_form_of_targets_is_that_of_a_task(rows):
    assert {form for row in rows.values() for form in row.targets} == {task.targets for task in TASKS.values()}
