"""Tables as competitions ship them, in any file format, with every cell as text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from imettk.config.file_kinds import TABLE_READERS, kind_of_name
from imettk.data.csv_files import is_utf8, list_names, printable
from imettk.errors import DataError

# Columns of ids: pandas turns whole numbers into floats if some are missing, so they are written without a point.
ID_NAME = re.compile(r"(.*[\W_])?[iI][dD]|.*[a-z0-9]I[dD]")
MOST_NUMBERS = 64  # in a cell; more are pixels, or something else that is not read as text


class NoTableError(DataError):
    """No table in a file of a kind that often holds something else, such as notes."""


class FileRows(NamedTuple):
    """Content of a file.

    Attributes:
        frame: the table, every cell as text; empty cells and missing values are ''.
        form: layout of the rows, in words for display; '' for plain csv.
    """

    frame: pd.DataFrame
    form: str = ""


def read_file(path: Path, remarks: list[str] | None = None) -> FileRows:
    """Read a competition's table.

    Args:
        remarks: receives how the file was interpreted and what was left out; None if another reading reports it.

    Raises:
        DataError: the file is missing, holds no table, or needs a module that is not installed.
    """
    kind = kind_of_name(TABLE_READERS, path.name) or TABLE_READERS["csv"]
    try:
        read: FileRows = kind.load_for(path)(path, [] if remarks is None else remarks)
    except FileNotFoundError:
        raise DataError(f"{path} is missing: --data must be the competition's folder") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or ' '.join(str(error).split())}") from None
    return read


def read_rows(path: Path, remarks: list[str] | None = None) -> pd.DataFrame:
    """Return the table of `read_file`."""
    return read_file(path, remarks).frame


def as_cell(value: Any) -> str:
    """Return a value as the text of a cell, in Python's form; '' if missing, JSON if nested."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, (list, tuple, set)) and all(is_scalar(item) for item in value):
        return str(list(value))
    if isinstance(value, (list, dict)):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def as_id(value: Any) -> Any:
    """Return a float that is a whole number as an integer; return anything else unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def is_scalar(value: Any) -> bool:
    """Return whether a JSON value is neither a list nor an object."""
    return value is None or isinstance(value, (str, int, float))


def holds_pixels(value: Any) -> bool:
    """Return whether a value is a list, possibly nested, of more numbers than a table cell holds."""
    return _count_numbers(value) > MOST_NUMBERS


def _count_numbers(value: Any) -> int:
    if not isinstance(value, list) or not value:
        return 0
    first = value[0]
    if isinstance(first, list):
        return len(value) * _count_numbers(first)
    return len(value) if isinstance(first, (int, float)) else 0


def columns_of(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return objects as columns, one for every name that occurs, with None where an object lacks it."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def make_table(columns: Mapping[str, Sequence[Any]], path: Path, remarks: list[str]) -> pd.DataFrame:
    """Return columns of values as a table of text, without columns of pixels, which become a remark."""
    kept: dict[str, Sequence[str]] = {}
    for name, values in columns.items():
        kinds = set(map(type, values))
        if float in kinds and ID_NAME.fullmatch(name) is not None:
            values, kinds = list(map(as_id, values)), kinds | {int}
        if not kinds & {list, dict} or not any(map(_is_long, values)):
            write = str if kinds <= {str, int} else as_cell  # `str` is faster and gives the same for these
            kept[name] = list(map(write, values))
    remark_pixels(path, [name for name in columns if name not in kept], remarks)
    for name, cells in kept.items():
        texts = [text for text in (name, *cells) if not text.isascii()]
        if halves := [text for text in texts if not is_utf8(text)]:  # a lone surrogate: JSON may hold "\\ud800"
            raise DataError(f"{path}: {printable(halves[0])[:40]} contains half a character, and is not valid text")
    return pd.DataFrame(kept, dtype=str)


def _is_long(value: Any) -> bool:
    return holds_pixels(value) or (isinstance(value, dict) and any(map(_is_long, value.values())))


def remark_pixels(path: Path, columns: Iterable[str], remarks: list[str]) -> None:
    """Remark columns that are left out of a table."""
    if columns := list(columns):
        remarks.append(
            f"{path}: left out {list_names(map(printable, columns), 'column')} of pixels or other long values"
        )
