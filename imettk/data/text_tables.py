"""Tables in text files: finding the separator of the cells and the encoding."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pandas as pd

from imettk.config.file_kinds import TABLE_READERS, kind_of_name
from imettk.data.csv_files import list_names
from imettk.data.table_files import ID_NAME, FileRows, NoTableError
from imettk.errors import DataError

SIGNS = (",", ";", "\t", "|")  # separators of cells, most common first
SPACES = " "  # separator: any number of spaces and tabs
HEAD_BYTES = 65536  # bytes that decide whether a file is text
HEAD_LINES = 20  # lines that decide the separator
# Control characters, which occur in no text of a one-byte encoding.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1e]")
_BREAK = re.compile(r"\r\n?|\n")
_DECIMAL = re.compile(r"\s*[-+]?\d+,\d+\s*")
_BROKEN = (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, EOFError, zlib.error, gzip.BadGzipFile)


def read_text(path: Path, remarks: list[str]) -> FileRows:
    """Read a csv or tsv file with cells separated by commas, semicolons, tabs, bars, or else spaces.

    Ids such as 0012 keep their zeros. Remarks name what was interpreted: a file that is neither UTF-8 nor UTF-16 is
    read as Western European; a column of decimal commas (not ids) is read with points; in a file separated by tabs, a
    stray quotation mark is an ordinary character.

    Raises:
        DataError: it is not text, not a table, or an unclosed quotation mark hides the rows below it.
    """
    try:
        frame, separator, encoding = _parse(path, remarks)
    except _BROKEN as error:
        raise DataError(f"{path} is not a readable csv table: {' '.join(str(error).split())}") from None
    if not isinstance(frame.index, pd.RangeIndex):  # pandas took the first cells for row names
        raise DataError(f"{path}: its rows have more cells than its header, which names {', '.join(frame.columns)}")
    if encoding in ("cp1252", "latin-1"):
        remarks.append(f"{path} is not UTF-8: read as {encoding}; save it as UTF-8 if names look wrong")
    # A comma cannot be both: where it separates cells, ids such as `1,2` must not become decimal numbers.
    columns = [] if separator == "," else [name for name in map(str, frame.columns) if _has_decimals(frame, name)]
    if columns:
        frame = frame.assign(**{name: frame[name].str.replace(",", ".", regex=False) for name in columns})
        remarks.append(f"{path}: {list_names(columns, 'column')} of numbers with a decimal comma, read as a point")
    return FileRows(frame)


def read_lines_of_text(path: Path, remarks: list[str]) -> FileRows:
    """Read a text file if its first lines look like a table.

    Raises:
        NoTableError: they do not.
        DataError: see `read_text`.
    """
    lines = _head(path)
    if not _is_regular(lines, find_separator(lines)):
        raise NoTableError(f"{path} holds no table: its first lines do not all have the same number of cells")
    frame, _ = read_text(path, remarks)
    return FileRows(frame, f"text, {len(frame)} rows")


def separator_of(path: Path) -> str:
    """Return the separator of a table's cells; a comma if it is not a text file."""
    return find_separator(_head(path)) if is_text_table(path) else ","


def is_text_table(path: Path) -> bool:
    """Return whether a table is a text file by its name; one without a known ending is."""
    kind = kind_of_name(TABLE_READERS, path.name)
    return kind is None or kind in (TABLE_READERS["csv"], TABLE_READERS["text"])


def first_cells(path: Path) -> list[str]:
    """Return the first cell of each line of a list, which needs no header; a line without separators is one cell.

    Raises:
        DataError: it is not text.
    """
    text = ""
    for encoding in _encodings(path):
        try:
            with _open(path) as file:
                text = file.read().decode(encoding)
        except UnicodeError:
            continue
        break
    lines = text.splitlines()
    sign = find_separator(lines[:HEAD_LINES])
    return [line if sign == SPACES else line.split(sign)[0] for line in lines]


def find_separator(lines: Sequence[str]) -> str:
    """Return the separator of cells, judged by the first lines of a table.

    The first sign that occurs in the header wins, preferably one that is equally frequent in all of these lines; spaces
    if there is no sign.
    """
    bare = [_without_quoted(line) for line in lines if line.strip()]
    there = [sign for sign in SIGNS if bare and sign in bare[0]]
    if regular := [sign for sign in there if _is_regular(bare, sign)]:
        return regular[0]
    return there[0] if there else SPACES if _is_regular(bare, SPACES) else ","


def _is_regular(lines: Sequence[str], separator: str) -> bool:
    """Return whether there are several lines, all with the same number of cells, above one."""
    bare = [_without_quoted(line) for line in lines if line.strip()]
    counts = {len(line.split()) if separator == SPACES else line.count(separator) + 1 for line in bare}
    return len(bare) > 1 and len(counts) == 1 and counts != {1}


def _without_quoted(line: str) -> str:
    return "_".join(line.split('"')[::2])  # quoted text may contain any sign


def _parse(path: Path, remarks: list[str]) -> tuple[pd.DataFrame, str, str]:
    """Return the table, its separator and its encoding."""
    *others, last = _encodings(path)
    for encoding in (*others, last):
        if (lines := _first_lines(path, encoding)) is None:
            continue
        sign = find_separator(lines)
        try:
            return _read_quoted(path, sign, encoding, remarks), sign, encoding
        except UnicodeError:
            if encoding == last:
                raise
    raise DataError(f"{path} begins like UTF-16, but is not valid UTF-16 text")


def _read_quoted(path: Path, sign: str, encoding: str, remarks: list[str]) -> pd.DataFrame:
    """Return the table, making sure that no stray quotation mark has swallowed rows into a cell."""
    try:
        frame, broken = _read(path, sign, encoding), None
    except pd.errors.ParserError as error:  # for example a quoted cell that never ends
        frame, broken = pd.DataFrame(), error
    # pandas takes everything up to the next quotation mark, rows and all, for one cell and reports nothing.
    with _open(path) as file:
        content = file.read()
    line = _find_stray_quote(content.decode(encoding), sign, len(frame.columns)) if b'"' in content else None
    if line is None:
        if broken is not None:
            raise broken
        return frame
    if sign == "\t":
        frame = _read(path, sign, encoding, quoting=csv.QUOTE_NONE)
        remarks.append(
            f"{path}, line {line}: stray quotation mark; such marks are read as ordinary characters in this file"
        )
        return frame
    raise DataError(
        f"{path}, line {line}: a quotation mark opens a cell and is not closed there, so it hides the rows below: "
        'close it, or write it three times, as in """Untitled"'
    )


def _read(path: Path, sign: str, encoding: str, **more: Any) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(
        path,
        sep=r"\s+" if sign == SPACES else sign,
        dtype=str,
        keep_default_na=False,
        encoding=encoding,
        compression="gzip" if _is_gzip(path) else None,
        **more,
    )
    return frame


def _find_stray_quote(text: str, sign: str, num_columns: int) -> int | None:
    """Return the line of a cell whose opening quotation mark is closed rows further down, or never.

    A cell may contain line breaks. They are not intended if a character follows the closing mark, or if the lines look
    like rows: the inner ones have all separators of a row, so do the first and the last together, and no separator is
    followed by a space as commas in sentences are.
    """
    stop = re.escape("\t " if sign == SPACES else sign)
    cells = re.compile(rf'(?<![^{stop}\r\n])"([^"]*(?:""[^"]*)*)("?)([^{stop}\r\n]*)')
    for cell in cells.finditer(text):
        if "\n" not in cell[1] and "\r" not in cell[1]:
            continue
        first, *inner = _BREAK.split(cell[1])
        counts = [line.count(sign) for line in (*inner[:-1], first + inner[-1])]
        like_rows = sign != SPACES and num_columns > 1 and {*counts} == {num_columns - 1} and f"{sign} " not in cell[1]
        if not cell[2] or cell[3].strip() or like_rows:
            return len(_BREAK.findall(text, 0, cell.start())) + 1
    return None


def _encodings(path: Path) -> tuple[str, ...]:
    """Return the possible encodings of a file, most likely first; raise `DataError` if it is not text."""
    with _open(path) as file:
        head = file.read(HEAD_BYTES)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ("utf-16",)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
        is_text = b"\0" not in head
    except UnicodeDecodeError:
        is_text = not _CONTROL.search(head)
    if not is_text:
        raise DataError(f"{path} is not a table: it contains bytes that are not text")
    return "utf-8-sig", "cp1252", "latin-1"  # latin-1 last: it decodes any bytes


def _head(path: Path) -> list[str]:
    """Return the first lines of a file, in the first encoding that fits them."""
    return next((lines for encoding in _encodings(path) if (lines := _first_lines(path, encoding)) is not None), [])


def _first_lines(path: Path, encoding: str) -> list[str] | None:
    """Return the first lines of a file; None if they do not fit this encoding."""
    decoder = codecs.getreader(encoding)
    with _open(path) as file:
        try:
            return list(islice(decoder(file), HEAD_LINES))
        except UnicodeError:
            return None


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    opened: Any = gzip.open if _is_gzip(path) else open
    with opened(path, "rb") as file:
        yield file


def _has_decimals(frame: pd.DataFrame, name: str) -> bool:
    """Return whether a column holds numbers with a comma; not a column of ids (by its name, or first and unique)."""
    if ID_NAME.fullmatch(name) is not None or (name == frame.columns[0] and frame[name].is_unique):
        return False
    full = frame[name][frame[name] != ""]
    return len(full) > 0 and bool(full.str.fullmatch(_DECIMAL).all())
