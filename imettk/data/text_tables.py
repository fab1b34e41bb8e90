"""Tables in text files: what separates their cells, and how their letters are encoded."""

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

SIGNS = (",", ";", "\t", "|")  # that separate cells
SPACES = " "  # any number of them, and tabs
HEAD_BYTES = 65536  # by which it shows whether a file is text
HEAD_LINES = 20  # by which it shows what separates cells
# Bytes that no text has, in any encoding of one byte a letter.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1e]")
_BREAK = re.compile(r"\r\n?|\n")
_DECIMAL = re.compile(r"\s*[-+]?\d+,\d+\s*")
_BROKEN = (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, EOFError, zlib.error, gzip.BadGzipFile)


def read_text(path: Path, remarks: list[str]) -> FileRows:
    """Read a csv or tsv file: cells are separated by commas, semicolons, tabs, bars, or else by spaces.

    Ids such as 0012 keep their zeros. These are remarked: a file that is neither UTF-8 nor UTF-16, which is read as
    Western European; a column of decimal commas, ids apart, which are read as points; and a file separated by tabs
    where a quotation mark is just a letter.

    Raises:
        DataError: it is no text, or no table, or a quotation mark without another hides the rows below it.
    """
    try:
        frame, separator, encoding = _parse(path, remarks)
    except _BROKEN as error:
        raise DataError(f"{path} is not a readable csv table: {' '.join(str(error).split())}") from None
    if not isinstance(frame.index, pd.RangeIndex):  # pandas has taken the first cells for names of rows
        raise DataError(f"{path}: its rows have more cells than its first line, which names {', '.join(frame.columns)}")
    if encoding in ("cp1252", "latin-1"):
        remarks.append(f"{path} is no UTF-8: read as {encoding}; save it as UTF-8 if names look wrong")
    columns = [] if separator == "," else [name for name in map(str, frame.columns) if _has_decimals(frame, name)]
    if columns:
        frame = frame.assign(**{name: frame[name].str.replace(",", ".", regex=False) for name in columns})
        remarks.append(f"{path}: {list_names(columns, 'column')} of numbers with a decimal comma, read as a point")
    return FileRows(frame)


def read_lines_of_text(path: Path, remarks: list[str]) -> FileRows:
    """Read a text file whose first lines show that it is a table.

    Raises:
        NoTableError: they do not.
        DataError: as `read_text`.
    """
    lines = _head(path)
    if not _is_regular(lines, find_separator(lines)):
        raise NoTableError(f"{path} holds no table: its first lines do not all have the same number of cells")
    frame, _ = read_text(path, remarks)
    return FileRows(frame, f"text, {len(frame)} rows")


def separator_of(path: Path) -> str:
    """Return what separates the cells of a table; a comma where it is no text."""
    return find_separator(_head(path)) if is_text_table(path) else ","


def is_text_table(path: Path) -> bool:
    """Return whether a table is a text file by its name, as one without a known ending is."""
    kind = kind_of_name(TABLE_READERS, path.name)
    return kind is None or kind in (TABLE_READERS["csv"], TABLE_READERS["text"])


def first_cells(path: Path) -> list[str]:
    """Return the first cell of each line of a list, which needs no header; a line without separators is one cell.

    Raises:
        DataError: it is no text.
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
    """Return what separates the cells of a table, by its first lines: of commas, semicolons, tabs and bars the first
    that stands in the header, and as often in all of these lines if one does; spaces where there is none of these."""
    bare = [_without_quoted(line) for line in lines if line.strip()]
    there = [sign for sign in SIGNS if bare and sign in bare[0]]
    if regular := [sign for sign in there if _is_regular(bare, sign)]:
        return regular[0]
    return there[0] if there else SPACES if _is_regular(bare, SPACES) else ","


def _is_regular(lines: Sequence[str], separator: str) -> bool:
    """Whether there are several lines, all with the same number of cells, above one."""
    bare = [_without_quoted(line) for line in lines if line.strip()]
    counts = {len(line.split()) if separator == SPACES else line.count(separator) + 1 for line in bare}
    return len(bare) > 1 and len(counts) == 1 and counts != {1}


def _without_quoted(line: str) -> str:
    return "_".join(line.split('"')[::2])  # what is quoted may hold any sign


def _parse(path: Path, remarks: list[str]) -> tuple[pd.DataFrame, str, str]:
    """Return the table, what separates its cells, and its encoding."""
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
    raise DataError(f"{path} is no text in UTF-16, with which it begins")


def _read_quoted(path: Path, sign: str, encoding: str, remarks: list[str]) -> pd.DataFrame:
    """Return the table, in which no quotation mark without another has taken rows for the text of a cell."""
    try:
        frame, broken = _read(path, sign, encoding), None
    except pd.errors.ParserError as error:  # such as a quoted cell that never ends
        frame, broken = pd.DataFrame(), error
    with _open(path) as file:
        content = file.read()
    line = _find_stray_quote(content.decode(encoding), sign, len(frame.columns)) if b'"' in content else None
    if line is None:
        if broken is not None:
            raise broken
        return frame
    if sign == "\t":
        frame = _read(path, sign, encoding, quoting=csv.QUOTE_NONE)
        remarks.append(f"{path}, line {line}: a quotation mark without another; they are read as letters in this file")
        return frame
    raise DataError(
        f"{path}, line {line}: a quotation mark begins a cell and is not closed there, so that it hides the rows "
        'below: close it, or write it three times, as in """Untitled"'
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
    """Return the line where a cell begins with a quotation mark that is closed rows further down, or never.

    A cell may well hold line breaks. It is not meant to where a letter follows the closing mark, or where its lines
    are made like the table's: those between with all separators of a row, its first and last together too, and
    without the space that follows a comma in a sentence.
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
    """Return the encodings in which a file may be, likelier ones first; `DataError` where it is no text."""
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
        raise DataError(f"{path} is no table: it holds bytes that are no text")
    return "utf-8-sig", "cp1252", "latin-1"


def _head(path: Path) -> list[str]:
    """Return the first lines of a file, in the first encoding that they have."""
    return next((lines for encoding in _encodings(path) if (lines := _first_lines(path, encoding)) is not None), [])


def _first_lines(path: Path, encoding: str) -> list[str] | None:
    """Return the first lines of a file; None where they are not in this encoding."""
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
    """Whether a column holds numbers with a comma, and no ids by its name, or as the first where each stands once."""
    if ID_NAME.fullmatch(name) is not None or (name == frame.columns[0] and frame[name].is_unique):
        return False
    full = frame[name][frame[name] != ""]
    return len(full) > 0 and bool(full.str.fullmatch(_DECIMAL).all())
