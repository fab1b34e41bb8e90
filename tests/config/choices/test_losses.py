"""Every loss has its implementation, and fits a task."""

import inspect

import pytest

from imettk.config.choices.choice import CLASSES
from imettk.config.choices.losses import LOSSES
from imettk.tasks import TASKS


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_takes_two_arguments_and_parameters_by_name(name):
    parameters = [*inspect.signature(LOSSES[name].load()).parameters.values()]
    assert [parameter.kind for parameter in parameters[:2]] == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 2
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters[2:])
    assert LOSSES[name].takes == "logits" or LOSSES[name].targets == (CLASSES,)


def test_every_form_of_targets_is_that_of_a_task():
    assert {form for row in LOSSES.values() for form in row.targets} == {task.targets for task in TASKS.values()}
