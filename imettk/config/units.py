"""Check the settings for units, each of which is several images with one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imettk.errors import ConfigError

if TYPE_CHECKING:
    from imettk.config.recipe import Recipe
    from imettk.config.table import TableFormat


def check_units(form: TableFormat) -> None:
    """Raise `ConfigError` if fields that define units contradict each other or the rest of the table."""
    ways = [name for name in ("unit_columns", "unit_folders", "image_columns") if getattr(form, name)]
    if len(ways) > 1:
        raise ConfigError(f"`table.{ways[1]}` must be left out beside {ways[0]}: each defines units, so give only one")
    if ways and form.lists_images:
        raise ConfigError(
            f"`table.{ways[0]}` must be left out with train_folders or train_files: only a table can define units"
        )
    if form.unit_folders and form.channel_files:
        raise ConfigError(
            "`table.channel_files` must be none with unit_folders, where each file of a folder is an image"
        )
    for name, columns in (("unit_columns", form.unit_columns), ("image_columns", form.image_columns)):
        if len(set(columns)) < len(columns):
            raise ConfigError(f"`table.{name}` must be different columns, got {', '.join(columns)}")
    if len(form.image_columns) == 1:
        raise ConfigError("`table.image_columns` must be two or more; a single one is `table.id_column`")


def check_pool(recipe: Recipe) -> None:
    """Raise `ConfigError` if the rule cannot answer the recipe's units, or `rule.pool` does not fit the task."""
    from imettk.config import fits  # inside: it imports this module
    from imettk.config.choices import UNIT_POOLS

    rule, pool = fits.rule_row(recipe), recipe.rule.pool
    if not recipe.table.has_units:
        if pool != "auto":
            raise ConfigError(f"`rule.pool` must be auto where no unit has several images, got {pool}")
        return
    if rule is not None and "ranked" in rule.gives:
        raise ConfigError(
            "`rule.kind` rank answers single images, and `table` has units of several: choose another rule"
        )
    if pool in UNIT_POOLS and fits.task_of(recipe).numeric and not UNIT_POOLS[pool].numbers:
        others = " or ".join(name for name, row in UNIT_POOLS.items() if row.numbers)
        raise ConfigError(f"`rule.pool` {pool} pools probabilities, and the task predicts numbers: use {others}")
