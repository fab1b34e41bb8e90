"""The pattern by which columns of a table name its images, such as `{chain}/{image}`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imettk.errors import ConfigError

if TYPE_CHECKING:
    from imettk.config.table import TableFormat

COLUMN = re.compile(r"\{([^{}]+)\}")


def columns_of(pattern: str | None) -> tuple[str, ...]:
    """Return the columns that a pattern names, each once; none without a pattern."""
    return tuple(dict.fromkeys(COLUMN.findall(pattern or "")))


def check_image_path(form: TableFormat) -> None:
    """Raise `ConfigError` where a format's pattern is none, or its images are named in another way."""
    pattern = form.image_path
    if pattern is None:
        return
    if not COLUMN.search(pattern) or set("{}") & set(COLUMN.sub("", pattern)):
        raise ConfigError(
            f"`table.image_path` must be a pattern of columns such as {{folder}}/{{image}}, got {pattern!r}"
        )
    others = ("train_folders", "train_files", "unit_folders", "image_columns")
    if other := next((name for name in others if getattr(form, name)), None):
        raise ConfigError(f"`table.image_path` must be none with {other}, which says itself where images lie")
