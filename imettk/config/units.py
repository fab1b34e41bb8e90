"""Whether what a recipe says of units, several images that give one answer, fits together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imettk.errors import ConfigError

if TYPE_CHECKING:
    from imettk.config.recipe import Recipe
    from imettk.config.table import TableFormat


def check_units(form: TableFormat) -> None:
    """Raise `ConfigError` where a format says of units what does not go together."""
    ways = [name for name in ("unit_columns", "unit_folders", "image_columns") if getattr(form, name)]
    if len(ways) > 1:
        raise ConfigError(f"`table.{ways[1]}` must be left out beside {ways[0]}: both say which images are one unit")
    if ways and form.lists_images:
        raise ConfigError(f"`table.{ways[0]}` must be left out with train_folders or train_files: a table names units")
    if form.unit_folders and form.channel_files:
        raise ConfigError("`table.channel_files` must be none with unit_folders, each of whose files is an image")
    for name, columns in (("unit_columns", form.unit_columns), ("image_columns", form.image_columns)):
        if len(set(columns)) < len(columns):
            raise ConfigError(f"`table.{name}` must be different columns, got {', '.join(columns)}")
    if len(form.image_columns) == 1:
        raise ConfigError("`table.image_columns` must be two or more; a single one is `table.id_column`")


def check_pool(recipe: Recipe) -> None:
    """Raise `ConfigError` where a recipe's units cannot be answered by its rule, or not pooled as it says."""
    from imettk.config import fits
    from imettk.config.choices import UNIT_POOLS

    rule, plan = fits.rule_row(recipe), recipe.rule
    if not recipe.table.has_units:
        if plan.pool != "auto":
            raise ConfigError(f"`rule.pool` must be auto where no unit has several images, got {plan.pool}")
        return
    if rule is not None and "ranked" in rule.gives:
        raise ConfigError(
            "`rule.kind` rank answers image by image, and `table` has units of several: take another rule"
        )
    if plan.pool in UNIT_POOLS and fits.task_of(recipe).numeric and not UNIT_POOLS[plan.pool].numbers:
        raise ConfigError(f"`rule.pool` {plan.pool} takes probabilities, and the task gives numbers: take mean or max")
