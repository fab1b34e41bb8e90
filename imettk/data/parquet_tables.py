"""Tables in parquet, Feather and Arrow files, read by column, so that pixels are never read."""

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
from imettk.data.table_files import ID_NAME, FileRows, as_cell, as_id, holds_pixels, remark_pixels
from imettk.errors import DataError

MOST_NUMERIC = 1000  # columns of numbers; if there are more, each is a pixel
LOOKED_AT = 64  # rows that decide whether lists or bytes are pixels
LONGEST_TEXT = 256  # bytes of a text stored as bytes; longer ones are pixels
INDEX = "__index_level_0__"  # pandas' name for an unnamed index


def read_parquet(path: Path, remarks: list[str]) -> FileRows:
    """Read a parquet file; raise `DataError` if it is broken, or holds only pixels."""
    with _pyarrow_errors(path), pa.parquet.ParquetFile(path, memory_map=True) as file:

        def read_head(names: list[str]) -> Any:
            return next(file.iter_batches(batch_size=LOOKED_AT, columns=names), None)

        names = _choose(path, file.schema_arrow, read_head, remarks, _find_large(file.metadata))
        frame = to_text(file.read(columns=names), names)
    return FileRows(frame, f"parquet, {len(frame)} rows")


def read_arrow(path: Path, remarks: list[str]) -> FileRows:
    """Read a Feather file or an Arrow stream; raises as `read_parquet`."""
    with _pyarrow_errors(path), pa.memory_map(str(path)) as source:
        try:
            table = pa.feather.read_table(source)
        except pa.ArrowInvalid:
            source.seek(0)
            table = pa.ipc.open_stream(source).read_all()
        names = _choose(path, table.schema, lambda names: table.select(names).slice(0, LOOKED_AT), remarks)
        frame = to_text(table, names)
    return FileRows(frame, f"Arrow, {len(frame)} rows")


@contextmanager
def _pyarrow_errors(path: Path) -> Iterator[None]:
    """Turn pyarrow's errors about a broken file into `DataError`."""
    try:
        yield
    except pa.ArrowException as error:
        raise DataError(f"{path} cannot be read in the format of its name: {' '.join(str(error).split())}") from None


def _find_large(metadata: Any) -> frozenset[str]:
    """Return the columns of a parquet file whose cells are longer than text, judged by the footer alone."""
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
    """Return the columns that are not pixels; a remark names the others.

    Args:
        read_head: reads the first rows of some columns; None if there is no row.
        large: columns of bytes whose first rows are not even read.
    """
    if doubles := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise DataError(f"{path}: {list_names(doubles, 'name')} of more than one column: rename them to be unique")
    types, kinds = pa.types, dict(zip(schema.names, schema.types, strict=True))
    numeric = [name for name, kind in kinds.items() if types.is_integer(kind) or types.is_floating(kind)]
    pixels = {*numeric} if len(numeric) > MOST_NUMERIC else set()
    pixels |= {name for name, kind in kinds.items() if "binary" in str(kind)}  # also nested in another type
    if of_bytes := [name for name in pixels - large if _is_binary(kinds[name])]:
        pixels -= {*of_bytes} if (head := read_head(of_bytes)) is None else _find_texts(head, of_bytes)
    nested = [name for name, kind in kinds.items() if types.is_nested(kind) and name not in pixels]
    if nested and (head := read_head(nested)) is not None:
        pixels |= {name for name in nested if any(map(holds_pixels, head.column(name).to_pylist()))}
    remark_pixels(path, [name for name in kinds if name in pixels], remarks)
    if not (kept := [name for name in kinds if name not in pixels]):
        raise DataError(f"{path} holds no table, only pixels")
    return kept


def _is_binary(kind: Any) -> bool:
    return "binary" in str(kind.value_type if pa.types.is_dictionary(kind) else kind) and not pa.types.is_nested(kind)


def _find_texts(head: Any, names: list[str]) -> set[str]:
    """Return the columns of bytes whose first rows are short texts."""
    return {name for name in names if are_texts(head.column(name).to_pylist())}


def are_texts(cells: Iterable[bytes | None]) -> bool:
    """Return whether all bytes, except missing ones, are short texts."""
    there = [cell for cell in cells if cell is not None]
    return all(len(cell) <= LONGEST_TEXT and b"\0" not in cell and _is_utf8(cell) for cell in there)


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def to_text(table: Any, names: Sequence[str]) -> pd.DataFrame:
    """Convert columns of an Arrow table to text; ids that pandas turned into floats become whole again."""
    columns = {name: _cells(table.column(name), is_id=ID_NAME.fullmatch(name) is not None) for name in names}
    frame = pd.DataFrame(columns, index=range(table.num_rows), dtype=str)
    return frame.rename(columns={} if "index" in names else {INDEX: "index"})


def _cells(column: Any, *, is_id: bool) -> list[str]:
    """Return the cells of a column as text, in the form of Python and pandas; '' for a missing one."""
    kind = str(column.type)
    if kind.startswith("dictionary"):
        return _cells(column.cast(column.type.value_type), is_id=is_id)
    if _is_binary(column.type):
        column = column.cast(pa.large_binary()).cast(pa.large_string())
    if kind.startswith("timestamp"):
        dates = column.to_pandas(use_threads=False)  # no thread pool: loader processes may be forked later
        return dates.astype(str).where(dates.notna(), "").tolist()
    if kind in ("float", "double", "halffloat") and not is_id:  # NumPy and pandas write them alike
        cells = column.to_numpy().astype(str)
        return np.where(cells == "nan", "", cells).tolist()
    return [as_cell(as_id(value) if is_id else value) for value in column.to_pylist()]
