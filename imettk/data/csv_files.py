"""Reading csv files of our own: every cell as text; and what is wrong with a table, in one line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.errors import DataError

LISTED = 5  # how many bad rows a message names before it only counts


def read_csv(path: Path) -> pd.DataFrame:
    """A file that a command wrote; all cells as text. What competitions ship is read by `data.table_files`."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable csv table: {' '.join(str(error).split())}") from None


def require_columns(frame: pd.DataFrame, csv: Path, columns: Iterable[str | None]) -> None:
    """Raise `DataError` where a column is missing; None stands for one that is not asked for."""
    missing = [column for column in columns if column is not None and column not in frame.columns]
    if missing:
        raise DataError(
            f"{csv} has no column {', '.join(missing)}; it has {', '.join(frame.columns)}. "
            "Name the right ones in the recipe's `table`, such as --table.id-column"
        )


def require_filled(frame: pd.DataFrame, csv: Path, filled: Iterable[str], kept: Iterable[str]) -> None:
    """Raise `DataError` where a sample submission has columns that nothing would fill.

    Args:
        filled: those of ids and answers.
        kept: those that stay as they are.
    """
    filled = list(filled)
    if rest := [column for column in frame.columns if column not in (*filled, *kept)]:
        raise DataError(
            f"{csv}: nothing would fill {list_names(rest, 'column')}: answers go only into {', '.join(filled[1:])}; "
            "where each label has a column, name them in `table.answer_columns`; columns that stay as they are go into "
            "table.kept_columns"
        )


def require_unique(ids: pd.Series, csv: Path, what_to_do: str = "") -> None:
    """Raise `DataError` where an id stands twice; the message ends with what to do."""
    doubles = ids[ids.duplicated()].unique()
    if len(doubles):
        raise DataError(f"{csv}: {list_names(doubles, 'id')} more than once; every id may stand once{what_to_do}")


def as_text(column: Iterable[str]) -> np.ndarray:
    """A flat array of fixed-width text."""
    return np.array(list(column), np.str_)


def printable(name: str) -> str:
    """A name on one line and in any encoding: what cannot be printed in it is escaped."""
    if name.isprintable():
        return name
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name)


def is_utf8(name: str) -> bool:
    """Whether a file's name is text, which on Linux it need not be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_utf8(folder: Path) -> None:
    """Raise `DataError` where the path of a folder is no text."""
    if not is_utf8(str(folder)):
        raise DataError(f"{printable(str(folder))}: its name is no UTF-8, as those of files in tables are: rename it")


def list_names(items: Iterable[str], what: str) -> str:
    """Count and name things: `7 rows (a, b, c, d, e, ...)`."""
    names = list(items)
    first = ", ".join(map(printable, names[:LISTED])) + (", ..." if len(names) > LISTED else "")
    return f"{len(names)} {what}{'s' if len(names) != 1 else ''} ({first})"
