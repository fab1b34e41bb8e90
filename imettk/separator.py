"""What stands between the cells of a csv file: competitions have commas, semicolons and tabs."""

from __future__ import annotations

from pathlib import Path


def csv_separator(path: Path) -> str:
    """A comma wherever the first line has one; else the semicolon or tab that it has instead.

    Raises:
        OSError, UnicodeDecodeError: the file cannot be read as text.
    """
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    bare = "".join(header.split('"')[::2])  # a quoted name may hold any of them
    return next((separator for separator in (",", ";", "\t") if separator in bare), ",")
