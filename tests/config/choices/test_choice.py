"""Rows are read without importing their implementations, and every field that names a row knows the names."""

import math
import os.path
import subprocess
import sys
import typing

import pytest

from imettk.config import Recipe
from imettk.config.choices import CHOSEN
from imettk.config.choices.choice import Choice, load
from imettk.config.fields import field_names, field_type
from imettk.config.own import Own
from imettk.errors import ConfigError


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
        message = rf"`{leaf}` of {type(owner).__name__} must be .*{list(CHOSEN[field])[-1]}"
        with pytest.raises(ConfigError, match=message):
            type(owner)(**{leaf: value})


def test_a_row_may_be_an_object_a_reference_or_a_users_own():
    assert load(len) is len and load("math:floor") is load(Own("math:floor", ""))


def test_a_reference_is_imported_and_anything_else_stays_as_it_is():
    assert load("math:sqrt") is math.sqrt and Choice(make="os.path:join").load() is os.path.join
    assert load(math.sqrt) is math.sqrt and load(None) is None
    with pytest.raises(AttributeError, match="no_such"):
        load("math:no_such")


def test_rows_are_read_without_their_implementations():
    code = "import sys, imettk.config.choices; print({'torch', 'numpy', 'imettk.losses'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"
