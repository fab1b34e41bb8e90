"""Every row's implementation is there, and every field that names a row knows its names."""

import typing

import pytest

from imettk.config import Recipe
from imettk.config.choices import (
    AUGMENTATIONS,
    BACKBONES,
    CHOSEN,
    HEADS,
    POOLS,
    READERS,
    SAMPLERS,
    VIEWS,
    load,
)
from imettk.config.fields import field_names, field_type
from imettk.config.own import LIBRARIES, Own
from imettk.errors import ConfigError

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
    assert field_type(Recipe(), name) == "one of " + ", ".join(CHOSEN[field])
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
