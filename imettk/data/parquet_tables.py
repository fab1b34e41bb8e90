"""Tables in parquet, Feather and Arrow files, column by column: what pixels fill is never read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet

from imettk.data.csv_files import list_names
from imettk.data.table_files import ID_NAME, FileRows, as_cell, as_id, holds_pixels, tell_pixels
from imettk.errors import DataError

MOST_NUMERIC = 1000  # columns of numbers, beyond which each of them is a pixel
LOOKED_AT = 64  # rows by which it shows whether lists or bytes are pixels
LONGEST_TEXT = 256  # bytes of a text that stands as bytes, beyond which they are pixels
INDEX = "__index_level_0__"  # as pandas calls names of rows that have no name themselves


def read_parquet(path: Path, remarks: list[str]) -> FileRows:
    """Read a parquet file; `DataError` where it is broken, or holds nothing but pixels."""
    with _telling(path), pa.parquet.ParquetFile(path, memory_map=True) as file:

        def read_head(names: list[str]) -> Any:
            return next(file.iter_batches(batch_size=LOOKED_AT, columns=names), None)

        names = _choose(path, file.schema_arrow, read_head, remarks, _find_large(file.metadata))
        frame = to_text(file.read(columns=names), names)
    return FileRows(frame, f"parquet, {len(frame)} rows")


def read_arrow(path: Path, remarks: list[str]) -> FileRows:
    """Read a Feather file, or one of Arrow's; errors as of `read_parquet`."""
    with _telling(path), pa.memory_map(str(path)) as source:
        try:
            table = pa.feather.read_table(source)
        except pa.ArrowInvalid:
            source.seek(0)
            table = pa.ipc.open_stream(source).read_all()
        names = _choose(path, table.schema, lambda names: table.select(names).slice(0, LOOKED_AT), remarks)
        frame = to_text(table, names)
    return FileRows(frame, f"Arrow, {len(frame)} rows")


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Raise `DataError` for what pyarrow says of a broken file."""
    try:
        yield
    except pa.ArrowException as error:
        raise DataError(f"{path} cannot be read as its name says: {' '.join(str(error).split())}") from None


def _find_large(metadata: Any) -> frozenset[str]:
    """Return the columns of a parquet file with more bytes a row than a text has, by its footer."""
    sizes = Counter[str]()
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for part in map(group.column, range(group.num_columns)):
            sizes[part.path_in_schema] += part.total_uncompressed_size
    return frozenset(name for name, size in sizes.items() if size > LONGEST_TEXT * (metadata.num_rows + LOOKED_AT))


def _choose(
    path: Path,
    schema: Any,
    read_head: Callable[[list[str]], Any],
    remarks: list[str],
    large: frozenset[str] = frozenset(),
) -> list[str]:
    """Return the columns that are no pixels; others become a remark.

    Args:
        read_head: the first rows of some columns, None where there is no row.
        large: columns of which not even these are read where they are bytes.
    """
    if doubles := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise DataError(f"{path}: {list_names(doubles, 'name')} of more than one column: which is meant cannot be told")
    types, kinds = pa.types, dict(zip(schema.names, schema.types, strict=True))
    numeric = [name for name, kind in kinds.items() if types.is_integer(kind) or types.is_floating(kind)]
    pixels = {*numeric} if len(numeric) > MOST_NUMERIC else set()
    pixels |= {name for name, kind in kinds.items() if "binary" in str(kind)}  # also within another one
    if of_bytes := [name for name in pixels - large if _is_binary(kinds[name])]:
        pixels -= {*of_bytes} if (head := read_head(of_bytes)) is None else _find_texts(head, of_bytes)
    nested = [name for name, kind in kinds.items() if types.is_nested(kind) and name not in pixels]
    if nested and (head := read_head(nested)) is not None:
        pixels |= {name for name in nested if any(map(holds_pixels, head.column(name).to_pylist()))}
    tell_pixels(path, [name for name in kinds if name in pixels], remarks)
    if not (kept := [name for name in kinds if name not in pixels]):
        raise DataError(f"{path} holds no table: there is nothing in it but pixels")
    return kept


def _is_binary(kind: Any) -> bool:
    return "binary" in str(kind.value_type if pa.types.is_dictionary(kind) else kind) and not pa.types.is_nested(kind)


def _find_texts(head: Any, names: list[str]) -> set[str]:
    """Return the columns of bytes whose first rows are short texts."""
    return {name for name in names if are_texts(head.column(name).to_pylist())}


def are_texts(cells: Iterable[bytes | None]) -> bool:
    """Return whether bytes, where they are there, are short texts."""
    there = [cell for cell in cells if cell is not None]
    return all(len(cell) <= LONGEST_TEXT and b"\0" not in cell and _is_utf8(cell) for cell in there)


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def to_text(table: Any, names: Sequence[str]) -> pd.DataFrame:
    """Return columns of a table of Arrow as text, a row each; ids that pandas made floats are whole again."""
    columns = {name: _cells(table.column(name), is_id=ID_NAME.fullmatch(name) is not None) for name in names}
    frame = pd.DataFrame(columns, index=range(table.num_rows), dtype=str)
    return frame.rename(columns={} if "index" in names else {INDEX: "index"})


def _cells(column: Any, *, is_id: bool) -> list[str]:
    """The cells of a column as text, as Python and pandas write them; '' where one is missing."""
    kind = str(column.type)
    if kind.startswith("dictionary"):
        return _cells(column.cast(column.type.value_type), is_id=is_id)
    if _is_binary(column.type):
        column = column.cast(pa.large_binary()).cast(pa.large_string())
    if kind.startswith("timestamp"):
        dates = column.to_pandas(use_threads=False)
        return dates.astype(str).where(dates.notna(), "").tolist()
    if kind in ("float", "double", "halffloat") and not is_id:
        cells = column.to_numpy().astype(str)
        return np.where(cells == "nan", "", cells).tolist()
    return [as_cell(as_id(value) if is_id else value) for value in column.to_pylist()]
