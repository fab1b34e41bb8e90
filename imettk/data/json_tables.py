"""Tables in JSON: lists of objects or names, one object per line, columns, ids mapped to labels, or COCO."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd

from imettk.data.coco_tables import is_coco, join_coco
from imettk.data.csv_files import list_names
from imettk.data.image_files import without_ending
from imettk.data.table_files import FileRows, columns_of, holds_pixels, is_scalar, make_table
from imettk.errors import DataError

ID, LABEL = "id", "label"  # column names for a mapping, which has none
KEYS = (ID, "index", "key")  # candidates for the column of a mapping's keys; the first free one is taken
LEFT_OUT = [0.0] * 65  # replaces pixels while the file is parsed; long enough to be recognised as pixels later


def read_json(path: Path, remarks: list[str]) -> FileRows:
    """Read the table in a JSON file.

    Pixels are dropped during parsing, so that those of a file of several hundred MB are never in memory together.

    Raises:
        DataError: it is broken, or holds no table.
    """
    with _open(path) as file:
        text = file.read()
    try:
        value = json.loads(text, object_pairs_hook=_read_object)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("{") and str(error).startswith("Extra data"):  # one object per line
            return _of_lines(path, text.split("\n"), remarks)
        raise DataError(f"{path} is broken JSON: {error}") from None
    del text
    if isinstance(value, dict) and is_coco(value):
        return join_coco(value, path, remarks)
    return _of_value(path, value, remarks)


def read_json_lines(path: Path, remarks: list[str]) -> FileRows:
    """Read a file with a JSON object on each line; raises as `read_json`."""
    with _open(path) as lines:
        return _of_lines(path, lines, remarks)


@contextmanager
def _open(path: Path) -> Iterator[IO[str]]:
    """Open a JSON file, and unpack it if its name ends with .gz."""
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rb") as file:
            encoding = json.detect_encoding(file.read(4))
        with opened(path, "rt", encoding=encoding) as file:
            yield file
    except (UnicodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is not JSON: {error}") from None


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Replace pixels in an object by a short list, unless it is an object of columns (all of them are lists)."""
    # Python's parser would keep the last of repeated names and lose the others without a word.
    record = dict(pairs)
    if len(record) < len(pairs) and (doubles := [name for name, value in pairs if record[name] != value]):
        raise ValueError(f"{list_names(doubles, 'name')} repeated in one object with another value")
    lists = [name for name, value in pairs if isinstance(value, list)]
    if len(lists) < len(record):
        record |= {name: LEFT_OUT for name in lists if holds_pixels(record[name])}
    return record


def _of_lines(path: Path, lines: Iterable[str], remarks: list[str]) -> FileRows:
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_read_object)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is broken JSON: {error}") from None
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number} is not a JSON object")
        records.append(record)
    return FileRows(_of_records(path, records, remarks), f"JSON lines, {len(records)} rows")


def _of_value(path: Path, value: Any, remarks: list[str]) -> FileRows:
    """Return the table in a JSON value."""
    if isinstance(value, dict) and _maps_images_to_lists(value):
        records = _with_keys((name, record) for name, part in value.items() for record in part or [{}])
        form = f"JSON that maps {len(value)} names to lists of objects, {len(records)} rows"
        return FileRows(_of_records(path, records, remarks), form)
    if isinstance(value, dict) and len(inner := [name for name, part in value.items() if _are_records(part)]) == 1:
        others = [name for name, part in value.items() if name != inner[0] and not is_scalar(part)]
        if others:  # {"info": ..., "data": [...]}
            remarks.append(f"{path}: left out {list_names(others, 'part')} beside the table {inner[0]}")
        value = value[inner[0]]
    if _are_records(value):
        return FileRows(_of_records(path, value, remarks), f"JSON, a list of {len(value)} objects")
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return FileRows(make_table({ID: value}, path, remarks), f"JSON, a list of {len(value)} names")
    if not isinstance(value, dict) or not value:
        raise _no_table(path, "it is neither a list of objects nor an object with anything in it")
    if (columns := _find_columns(value)) is not None:
        frame = make_table(columns, path, remarks)
        return FileRows(frame, f"JSON of columns, {len(frame)} rows")
    parts = list(value.values())
    if all(is_scalar(part) or (isinstance(part, list) and all(map(is_scalar, part))) for part in parts):
        frame = make_table({ID: list(value), LABEL: parts}, path, remarks)
        return FileRows(frame, f"JSON that maps {len(frame)} names to values")
    if all(isinstance(part, dict) for part in parts) and set.intersection(*(set(part) for part in parts)):
        frame = _of_records(path, _with_keys(value.items()), remarks)
        return FileRows(frame, f"JSON that maps {len(frame)} names to objects")
    listed = ", ".join(list(value)[:3]) + (", ..." if len(value) > 3 else "")
    raise _no_table(path, f"it is an object of {listed}")


def _maps_images_to_lists(value: dict[str, Any]) -> bool:
    """Return whether names of images are mapped to lists of objects; some lists may be empty."""
    lists = all(part == [] or _are_records(part) for part in value.values())
    return lists and any(value.values()) and all(without_ending(name) != name for name in value)


def _with_keys(parts: Iterable[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the objects of a mapping, each with its key in a column of its own.

    If all objects have an id, the key column comes last, and keys that only count are dropped.
    """
    parts = list(parts)
    column = _free_name({name for _, part in parts for name in part})
    if column == ID:
        return [{column: key} | part for key, part in parts]
    # Keys of a pandas export that only count rows must not stand before a real id: the first column names images.
    if all(ID in part for _, part in parts) and _are_counted([key for key, _ in parts]):
        return [part for _, part in parts]
    return [part | {column: key} for key, part in parts]


def _free_name(taken: Collection[str]) -> str:
    """Return a name for a column of keys that is not taken."""
    return next((name for name in KEYS if name not in taken), max(taken, key=len, default="") + "_key")


def _no_table(path: Path, reason: str) -> DataError:
    return DataError(f"{path} holds no table in a known form: {reason}")


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(record, dict) for record in value)


def _of_records(path: Path, records: Sequence[dict[str, Any]], remarks: list[str]) -> pd.DataFrame:
    """Return objects as rows, with a column for every name that occurs."""
    if not records:
        raise _no_table(path, "it is empty")
    return make_table(columns_of(records), path, remarks)


def _find_columns(value: dict[str, Any]) -> dict[str, Sequence[Any]] | None:
    """Return the columns of an object of columns, as lists or as pandas writes them; None for any other object.

    Row names become a column too, unless they only count from 0. A mapping of ids to lists looks the same, except that
    it has more ids than items.
    """
    if set(value) == {"columns", "index", "data"}:  # pandas with `orient="split"`
        names, rows, index = value["columns"], value["data"], value["index"]
        if not all(isinstance(part, list) for part in value.values()):
            return None
        if not all(isinstance(row, list) and len(row) == len(names) for row in rows) or len(index) != len(rows):
            return None
        columns = {str(name): [row[at] for row in rows] for at, name in enumerate(names)}
        return _named_rows(index, columns) | columns
    first = next(iter(value.values()))
    if is_scalar(first) or any(without_ending(name) != name for name in value):
        return None
    if all(isinstance(part, list) and len(part) == len(first) for part in value.values()):
        return value if len(first) > len(value) else None
    if not all(isinstance(part, dict) and part.keys() == first.keys() for part in value.values()):
        return None
    numbered = all(row.isdecimal() for row in first)
    if len(first) <= len(value) and (not numbered or all(name.isdecimal() for name in value)):
        return None
    columns = {name: list(part.values()) for name, part in value.items()}
    return _named_rows(list(first), columns) | columns


def _named_rows(names: Sequence[Any], columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Return row names as a column, unless they carry no information.

    They carry none if they only count, or are numbers left over from counting beside a column of unique ids.
    """
    if _are_counted(names):
        return {}
    numbers = all(str(name).isdecimal() for name in names)
    if numbers and any(len({*map(str, cells)}) == len(names) for cells in columns.values()):
        return {}
    return {_free_name(columns): names}


def _are_counted(names: Sequence[Any]) -> bool:
    return [*map(str, names)] == [*map(str, range(len(names)))]
