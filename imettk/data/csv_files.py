"""The toolkit's own csv files, read as text; and one-line messages about what is wrong with a table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.errors import DataError

LISTED = 5  # names in a message before it only counts


def read_csv(path: Path) -> pd.DataFrame:
    """Read a file that a command wrote, every cell as text; `data.table_files` reads what competitions ship."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable csv table: {' '.join(str(error).split())}") from None


def require_columns(frame: pd.DataFrame, csv: Path, columns: Iterable[str | None]) -> None:
    """Raise `DataError` if a column is missing; None is skipped."""
    missing = [column for column in columns if column is not None and column not in frame.columns]
    if missing:
        raise DataError(
            f"{csv} has no column {', '.join(missing)}; it has {', '.join(frame.columns)}. "
            "Set the right ones in the recipe's `table`, such as --table.id-column"
        )


def require_filled(frame: pd.DataFrame, csv: Path, filled: Iterable[str], kept: Iterable[str]) -> None:
    """Raise `DataError` if a sample submission has columns that nothing would fill.

    Args:
        filled: columns of ids and answers.
        kept: columns that are copied unchanged.
    """
    filled = list(filled)
    if rest := [column for column in frame.columns if column not in (*filled, *kept)]:
        raise DataError(
            f"{csv}: nothing would fill {list_names(rest, 'column')}: answers go only into {', '.join(filled[1:])}; "
            "if each label has a column, list them in `table.answer_columns`; list columns that stay unchanged in "
            "table.kept_columns"
        )


def require_unique(ids: pd.Series, csv: Path, what_to_do: str = "") -> None:
    """Raise `DataError` if an id is repeated; the message ends with `what_to_do`."""
    doubles = ids[ids.duplicated()].unique()
    if len(doubles):
        raise DataError(f"{csv}: {list_names(doubles, 'id')} more than once; ids must be unique{what_to_do}")


def as_text(column: Iterable[str]) -> np.ndarray:
    """Return a flat array of fixed-width text, which forked workers can share (no Python object per row)."""
    return np.array(list(column), np.str_)


def printable(name: str) -> str:
    """Return a name on one line, with unprintable characters escaped."""
    if name.isprintable():
        return name
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name)


def is_utf8(name: str) -> bool:
    """Return whether a file name is valid text; on Linux it may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_utf8(folder: Path) -> None:
    """Raise `DataError` if the path of a folder is not valid text."""
    if not is_utf8(str(folder)):
        raise DataError(f"{printable(str(folder))}: its name is not UTF-8, which tables require: rename it")


def list_names(items: Iterable[str], noun: str, plural: str | None = None) -> str:
    """Count and list things: `7 rows (a, b, c, d, e, ...)`."""
    names = list(items)
    first = ", ".join(map(printable, names[:LISTED])) + (", ..." if len(names) > LISTED else "")
    return f"{len(names)} {noun if len(names) == 1 else plural or noun + 's'} ({first})"
