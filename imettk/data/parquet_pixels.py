"""Rows of pixels in parquet, decoded in blocks and in order: a random row costs decoding everything before it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from imettk.data.parquet_tables import are_texts, to_text
from imettk.data.pixel_tables import (
    PEEKED,
    PixelTable,
    Planes,
    count_numbers,
    find_planes,
    parse_numbers,
    require_planes,
)

BLOCK_BYTES = 1 << 25  # decoded pixels per block
MOST_ROWS = 2048  # rows per block
LEAST_BYTES = 64  # of an encoded picture; fewer are a name or a hash
LONG_CELL = 1 << 18  # assumed bytes of a cell with many pixels
KEPT = 2  # blocks in memory: threads that read in order stand on both sides of a border between blocks


def open_parquet(path: str) -> PixelTable:
    """Open a parquet file of pixels or of encoded images.

    Raises:
        NoImages: no column holds any.
    """
    return PixelTable(ParquetRows(path))


class ParquetRows:
    """The rows of a parquet file; see `data.pixel_tables.PixelRows`."""

    def __init__(self, path: str) -> None:
        self._file = pa.parquet.ParquetFile(path, memory_map=True)
        schema, types = self._file.schema_arrow, pa.types
        kinds = dict(zip(schema.names, schema.types, strict=True))
        binary = [name for name, kind in kinds.items() if "binary" in str(kind)]
        head = self._head(binary)
        of_bytes = [name for name in binary if any(len(_bytes_of(row[name]) or b"") >= LEAST_BYTES for row in head)]
        numbers = {name: int(types.is_integer(kind) or types.is_floating(kind)) for name, kind in kinds.items()}
        others = [name for name in kinds if not numbers[name] and name not in of_bytes]
        counts = numbers | count_numbers(self._head(others))
        planes = Planes(((of_bytes[0],),), 0) if of_bytes else find_planes(counts)
        self.planes = require_planes(planes)
        no_texts = [name for name in binary if not are_texts(_bytes_of(row[name]) for row in head)]
        self.unused = frozenset([*(name for name, count in counts.items() if count > 1), *of_bytes, *no_texts])
        groups = [self._file.metadata.row_group(group).num_rows for group in range(self._file.metadata.num_row_groups)]
        self._starts = np.cumsum([0, *groups])
        self._blocks: OrderedDict[int, Any] = OrderedDict()
        self._ahead: Iterator[Any] = iter(())
        self._group = self._next = -1
        self._row_bytes = sum(kinds[name].bit_width // 8 if numbers[name] else LONG_CELL for name in self.planes.names)
        self._rows = max(1, min(MOST_ROWS, BLOCK_BYTES // self._row_bytes))

    def _head(self, names: list[str]) -> list[dict[str, Any]]:
        batches = self._file.iter_batches(batch_size=PEEKED, columns=names, use_threads=False) if names else iter(())
        return [] if (batch := next(batches, None)) is None else batch.to_pylist()

    def values(self, row: int) -> bytes | list[np.ndarray]:
        start, block = self._block(row)
        if self.planes.pixels == 0:
            if (content := _bytes_of(block.column(self.planes.names[0])[row - start].as_py())) is None:
                raise ValueError("its cell holds no bytes")
            return content
        return [
            plane[row - start] if isinstance(plane, np.ndarray) else _numbers(plane[row - start]) for plane in block
        ]

    def most_bytes(self) -> int:
        return self._row_bytes * min(self._file.metadata.num_rows, KEPT * self._rows)

    def _block(self, row: int) -> tuple[int, Any]:
        """Return the first row and the decoded rows of the block that holds this row."""
        for start in reversed(self._blocks):
            if start <= row < start + self._blocks[start][0]:
                return start, self._blocks[start][1]
        # The reader goes on from block to block; it starts over only for another row group or an earlier row.
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if group != self._group or row < self._next:
            self._ahead = self._file.iter_batches(
                batch_size=self._rows, row_groups=[group], columns=self.planes.names, use_threads=False
            )
            self._group, self._next = group, int(self._starts[group])
        while True:
            batch = next(self._ahead)
            start, self._next = self._next, self._next + batch.num_rows
            if row < self._next:
                break
        if self._next == self._starts[group + 1]:  # drop it: a reader of ten thousand columns holds a gigabyte
            self._ahead, self._group = iter(()), -1
        self._blocks[start] = batch.num_rows, self._decode(batch)
        while len(self._blocks) > KEPT:
            self._blocks.popitem(last=False)
        return start, self._blocks[start][1]

    def _decode(self, batch: Any) -> Any:
        """Return the pixels of each channel, (rows, pixels) or a column; for encoded images, the batch itself."""
        if self.planes.pixels == 0:
            return batch
        planes = []
        for columns in self.planes.columns:
            if len(columns) == 1:
                planes.append(batch.column(columns[0]))
                continue
            # Stacked by column and transposed once: filling rows column by column would miss the cache at every write.
            values = np.stack([batch.column(name).to_numpy(zero_copy_only=False) for name in columns])
            planes.append(np.ascontiguousarray(values.T))
        return planes

    def frame(self) -> pd.DataFrame:
        left_out = self.unused.union(self.planes.names)
        names = [name for name in self._file.schema_arrow.names if name not in left_out]
        return to_text(self._file.read(columns=names, use_threads=False), names)


def _bytes_of(cell: Any) -> bytes | None:
    """Return the encoded image in a cell, or in its field `bytes`, as Hugging Face datasets store it."""
    cell = cell.get("bytes") if isinstance(cell, dict) else cell
    return cell if isinstance(cell, bytes) else None


def _numbers(cell: Any) -> np.ndarray:
    """Return the pixels in a cell: a list, nested lists, or text."""
    types = pa.types
    if (types.is_list(cell.type) or types.is_large_list(cell.type)) and not types.is_nested(cell.type.value_type):
        return np.asarray(cell.values.to_numpy(zero_copy_only=False))
    value = cell.as_py()
    return parse_numbers(value) if isinstance(value, str) else np.asarray(value)
