"""Patterns such as `{chain}/{image}`, which build the names of images from columns of a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imettk.errors import ConfigError

if TYPE_CHECKING:
    from imettk.config.table import TableFormat

COLUMN = re.compile(r"\{([^{}]+)\}")


def columns_of(pattern: str | None) -> tuple[str, ...]:
    """Return the columns in a pattern, each once; () without a pattern."""
    return tuple(dict.fromkeys(COLUMN.findall(pattern or "")))


def check_image_path(form: TableFormat) -> None:
    """Raise `ConfigError` if `image_path` is no pattern, or another field locates the images too."""
    pattern = form.image_path
    if pattern is None:
        return
    if not COLUMN.search(pattern) or set("{}") & set(COLUMN.sub("", pattern)):
        raise ConfigError(
            f"`table.image_path` must be a pattern of columns such as {{folder}}/{{image}}, got {pattern!r}"
        )
    others = ("train_folders", "train_files", "unit_folders", "image_columns")
    if other := next((name for name in others if getattr(form, name)), None):
        raise ConfigError(f"`table.image_path` must be none with {other}, which already locates the images")
