"""Rows of pixels in text files (csv, a JSON list of objects, one JSON object per line), read in place.

Such files are several GB: they are memory-mapped, only the positions of rows are kept, and a row is parsed when its
image is read.
"""

from __future__ import annotations

import csv
import io
import json
import mmap
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imettk.data.csv_files import list_names
from imettk.data.pixel_tables import PEEKED, PixelTable, count_numbers, find_planes, parse_numbers, require_planes
from imettk.data.table_files import columns_of, make_table
from imettk.data.text_tables import SPACES, find_separator

CHUNK = 1 << 24  # bytes searched at once
HEAD_BYTES = 1 << 16  # bytes searched first
PEEKED_BYTES = 1 << 25  # limit for the end of the first rows
INDEX = "index"  # name of an unnamed first column, in which pandas writes its index
INDEXED = 8  # bytes of a file per byte of its index of rows, at least: most of a file is pixels
BOM = b"\xef\xbb\xbf"
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}]')
_STRING_OR_LIST = re.compile(rb'("(?:[^"\\]|\\.)*")|\[[-+.,\s\[]*\d[-+.\deE,\s\[\]]*\]|\bNaN\b')


def open_csv(path: str) -> PixelTable:
    """Open a csv of pixels; raise `NoImages` if no column holds any."""
    return PixelTable(CsvRows(path))


def open_json(path: str) -> PixelTable:
    """Open JSON of pixels; raises as `open_csv`."""
    return PixelTable(JsonRows(path))


def map_file(path: str) -> mmap.mmap | bytes:
    """Return the bytes of a file as a memory map; an empty file cannot be mapped."""
    with open(path, "rb") as file:
        if not file.seek(0, io.SEEK_END):
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class CsvRows:
    """The rows of a csv; see `data.pixel_tables.PixelRows`."""

    def __init__(self, path: str) -> None:
        self._path, self._data = path, map_file(path)
        self._lines: np.ndarray | None = None
        head = _first_lines(self._data, PEEKED + 1)
        lines = [line.decode("utf-8-sig") for line in head]
        # Only the first rows are parsed here: a competition's csv of pixels has hundreds of thousands.
        sign = find_separator(lines)
        self._separator = "," if sign == SPACES else sign  # spaces separate the pixels within a cell
        columns = next(csv.reader(lines[:1], delimiter=self._separator), [])
        self._columns = [
            name or (INDEX if place == 0 and INDEX not in columns else "") for place, name in enumerate(columns)
        ]
        rows = [dict(zip(self._columns, self._cells(line), strict=False)) for line in head[1:]]
        counts = count_numbers(rows)
        self.planes = require_planes(find_planes(counts))
        self.unused = frozenset(name for name, count in counts.items() if count > 1)
        places = {name: place for place, name in enumerate(self._columns)}
        self._places = [[places[name] for name in columns] for columns in self.planes.columns]

    def _cells(self, line: bytes) -> list[str]:
        text = line.decode()
        if '"' in text:  # csv's parser takes several times as long as `split`
            return next(csv.reader([text], delimiter=self._separator))
        return text.split(self._separator)

    def values(self, row: int) -> list[np.ndarray]:
        lines = self._find_lines()
        cells = self._cells(self._data[lines[row, 0] : lines[row, 1]].rstrip(b"\r\n"))
        if len(cells) != len(self._columns):
            raise ValueError(f"its row has {len(cells)} cells, but the header {len(self._columns)}")
        planes = ([cells[place] for place in places] for places in self._places)
        return [parse_numbers(plane[0] if len(plane) == 1 else plane) for plane in planes]

    def most_bytes(self) -> int:
        return len(self._data) // INDEXED

    def _find_lines(self) -> np.ndarray:
        if self._lines is None:
            self._lines = find_lines(self._data)[1:]
        return self._lines

    def frame(self) -> pd.DataFrame:
        left_out = self.unused.union(self.planes.names)
        kept = {place: name for place, name in enumerate(self._columns) if name not in left_out}
        if twice := [name for name, count in Counter(kept.values()).items() if count > 1]:
            raise ValueError(f"{list_names(twice, 'column')} with the same name")
        count = len(self._find_lines())
        if not kept:
            return pd.DataFrame(index=range(count))
        frame = pd.read_csv(
            self._path, sep=self._separator, usecols=[*kept], dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
        frame.columns = pd.Index(kept.values())  # pandas renames columns without a name
        if len(frame) != count:
            raise ValueError(f"it has {count} lines, but {len(frame)} rows")
        return frame


def _first_lines(data: mmap.mmap | bytes, count: int) -> list[bytes]:
    """Return the first non-empty lines, without their ends."""
    size = HEAD_BYTES
    while True:
        lines = find_lines(data[:size])
        if size < len(data):
            lines = lines[:-1]  # which may be incomplete
        if len(lines) >= count or size >= min(len(data), PEEKED_BYTES):
            return [data[start:end].rstrip(b"\r\n") for start, end in lines[:count].tolist()]
        size *= 8


def find_lines(data: mmap.mmap | bytes) -> np.ndarray:
    """Return the (start, end) of each non-empty line, int64 (N, 2); a line break within quotes does not end a line.

    Vectorised: a break lies within quotes if an odd number of quotation marks precedes it.
    """
    ends, quotes = [], 0
    for start in range(0, len(data), CHUNK):
        chunk = np.frombuffer(data[start : start + CHUNK], np.uint8)
        places = np.flatnonzero(chunk == ord("\n"))
        marks = np.flatnonzero(chunk == ord('"'))
        within = (quotes + np.searchsorted(marks, places)) % 2 == 1
        quotes += len(marks)
        ends.append(places[~within] + start)
    inner = np.concatenate([*ends, np.zeros(0, np.int64)]) + 1
    bounds = np.unique(np.concatenate([[0], inner, [len(data)]])).astype(np.int64)
    lines = np.stack([bounds[:-1], bounds[1:]], 1)
    short = [row for row in np.flatnonzero(lines[:, 1] - lines[:, 0] <= 2) if not data[slice(*lines[row])].strip()]
    return np.delete(lines, short, 0)


class JsonRows:
    """Rows of a JSON file, as a list of objects or one object per line; see `data.pixel_tables.PixelRows`."""

    def __init__(self, path: str) -> None:
        self._path, self._data = path, map_file(path)
        self._spans: np.ndarray | None = None
        head = islice(find_objects(self._data, PEEKED_BYTES), PEEKED)
        counts = count_numbers(self._load(*span) for span in head)
        self.planes = require_planes(find_planes({name: count for name, count in counts.items() if count > 1}))
        self.unused = frozenset(name for name, count in counts.items() if count > 1)

    def _load(self, start: int, end: int) -> Mapping[str, Any]:
        record: Mapping[str, Any] = json.loads(self._data[start:end])
        return record

    def most_bytes(self) -> int:
        return len(self._data) // INDEXED

    def _find(self) -> np.ndarray:
        if self._spans is None:
            self._spans = np.array(list(find_objects(self._data, len(self._data))), np.int64).reshape(-1, 2)
        return self._spans

    def values(self, row: int) -> list[np.ndarray]:
        record = self._load(*self._find()[row].tolist())
        names = self.planes.names
        if missing := [name for name in names if record.get(name) is None]:
            raise ValueError(f"it has no {', '.join(missing)}")
        cells = [record[name] for name in names]
        return [parse_numbers(cell) if isinstance(cell, str) else np.asarray(cell) for cell in cells]

    def frame(self) -> pd.DataFrame:
        records = []
        for start, end in self._find().tolist():
            # Pixels become null before the JSON is parsed: parsing the numbers would take most of the time.
            bare = _STRING_OR_LIST.sub(lambda match: match[1] or b"null", self._data[start:end])
            records.append(json.loads(bare))
        left_out = self.unused.union(self.planes.names)
        kept = {name: cells for name, cells in columns_of(records).items() if name not in left_out}
        return make_table(kept, Path(self._path), []) if kept else pd.DataFrame(index=range(len(records)))


def find_objects(data: mmap.mmap | bytes, end: int) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) of each outermost object of a JSON text.

    Raises:
        ValueError: the text ends within an object.
    """
    depth = first = 0
    for token in _TOKEN.finditer(data, 0, end):
        if token[0] == b"{":
            first = first if depth else token.start()
            depth += 1
        elif token[0] == b"}":
            depth -= 1
            if depth == 0:
                yield first, token.end()
    if depth > 0 and end == len(data):
        raise ValueError("it is truncated: its last object has no end")
