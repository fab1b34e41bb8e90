"""Tables whose rows hold the pixels of images, one column per pixel or many in a cell, as containers of images.

A row is named by its id. In a table without a column of ids, rows are named by their number from 1, which its frame has
in a column `row`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from imettk.data.containers import NoImages, Shape, npy_content

LEAST = 256  # numbers in the smallest image; fewer are measurements
PEEKED = 3  # first rows that are compared: pixels have the same number of values in each, run-length masks do not
ROW = "row"
ID_NAME = re.compile(r"(.*(\b|_|[a-z](?=[A-Z])))?(?i:id|name|key|uuid|image|img|file|filename|path|index)s?|")
_SIGNS = str.maketrans("[](),;|", "       ")


class Planes(NamedTuple):
    """Columns of an image's channels.

    Attributes:
        columns: columns of each channel: one per pixel, or one whose cells hold all pixels.
        pixels: pixels per channel; 0 if cells are encoded images.
    """

    columns: tuple[tuple[str, ...], ...]
    pixels: int

    @property
    def names(self) -> list[str]:
        """All of these columns."""
        return [name for columns in self.columns for name in columns]


class PixelRows(Protocol):
    """Rows of one table, by position from 0.

    Attributes:
        planes: columns that hold images.
        unused: columns of numbers that are neither images nor read as text.
    """

    planes: Planes
    unused: frozenset[str]

    def values(self, row: int) -> bytes | list[np.ndarray]:
        """Return the pixels of each channel of a row, or an encoded image."""

    def frame(self) -> pd.DataFrame:
        """Return all other columns, every cell as text."""

    def most_bytes(self) -> int:
        """Return an upper bound of the memory that these may take."""


class PixelTable:
    """A table as the container of its images; see `data.containers.Container`."""

    def __init__(self, rows: PixelRows) -> None:
        self._rows, self.planes = rows, rows.planes
        self._frame: pd.DataFrame | None = None
        self._places: dict[str, int] | None = None

    def names(self, wanted: Collection[str] = ()) -> Sequence[str]:
        frame = self.frame()
        column = find_id_column(frame)
        return frame[ROW if column is None else column].tolist()

    def read(self, name: str, shape: Shape) -> bytes:
        if self._places is None:
            self._places = {known: place for place, known in enumerate(self.names())}
        values = self._rows.values(self._places[name])
        return values if isinstance(values, bytes) else npy_content(shape_planes(values, shape))

    def frame(self) -> pd.DataFrame:
        if self._frame is None:
            frame = self._rows.frame()
            if find_id_column(frame) is None:
                if ROW in frame.columns:
                    raise ValueError(f"no column holds ids, and the name for row numbers, {ROW}, is taken by a column")
                numbers = [str(number) for number in range(1, len(frame) + 1)]
                frame = frame.assign(**{ROW: pd.Series(numbers, frame.index, dtype=str)})
            self._frame = frame
        return self._frame

    def most_bytes(self) -> int:
        return self._rows.most_bytes()

    def fault(self, shape: Shape) -> str | None:
        count = self.planes.pixels
        if shape is None and count and not is_square(count):
            shapes = [f"--pixel-shape {height}x{width}" for height, width in oblongs(count)]
            return (
                f"each image has {count} values, which do not make a square: set its height and width in "
                f"table.pixel_shape, or for `imettk new`: {' or '.join(shapes) or '--pixel-shape HEIGHTxWIDTH'}"
            )
        if shape is not None and count and math.prod(shape) != count:
            return f"each image has {count} values, but table.pixel_shape {_product(shape)}"
        return None


def find_planes(numbers: Mapping[str, int]) -> Planes | None:
    """Return the columns that hold images, given how many numbers a cell of each holds; None without any.

    Columns of one number each form an image if they are numbered alike, such as pixel0 to pixel783. If there are images
    of several sizes, the largest counts.
    """
    runs: dict[str, list[str]] = {}
    for name, count in numbers.items():
        if count == 1 and (mask := re.sub(r"\d+", "#", name)) != name:
            runs.setdefault(mask, []).append(name)
    candidates = [(tuple(names), len(names)) for names in runs.values()]
    candidates += [((name,), count) for name, count in numbers.items() if count > 1]
    most = max((count for _, count in candidates), default=0)
    if most < LEAST:
        return None
    return Planes(tuple(columns for columns, count in candidates if count == most), most)


def require_planes(planes: Planes | None) -> Planes:
    """Return `planes`; raise `NoImages` if it is None."""
    if planes is None:
        raise NoImages(f"no column has cells of {LEAST} numbers or more, nor are there as many numbered columns")
    return planes


def count_numbers(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many numbers each column holds in all of these cells; 0 if that differs, or there are none.

    Args:
        rows: the first rows, with cells of text, numbers or lists; a single row counts only if its number is a square.
    """
    seen: dict[str, set[int]] = {}
    number = 0
    for row in rows:
        number += 1
        for name, cell in row.items():
            seen.setdefault(name, set()).add(_count(cell))
    counts = {name: next(iter(numbers)) if len(numbers) == 1 else 0 for name, numbers in seen.items()}
    if number == 1:  # one row cannot show whether the count is constant: a run-length mask has any number
        counts = {name: count if count == 1 or is_square(count) else 0 for name, count in counts.items()}
    return counts


def _count(cell: Any) -> int:
    if isinstance(cell, str):
        parts = cell.translate(_SIGNS).split()
        return len(parts) if all(map(_is_number, parts)) else 0
    if isinstance(cell, bool) or cell is None:
        return 0
    if isinstance(cell, (list, tuple, np.ndarray)):
        array = np.asarray(cell) if len(cell) and not isinstance(cell[0], (str, dict)) else np.zeros(0)
        return array.size if array.dtype.kind in "uif" else 0
    return int(isinstance(cell, (int, float)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse_numbers(cells: str | Sequence[str]) -> np.ndarray:
    """Return the numbers in a text, or in several texts; raise ValueError if one is not a number."""
    return np.array(cells.translate(_SIGNS).split() if isinstance(cells, str) else cells, np.float64)


def shape_planes(planes: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
    """Return the image of some channels in their own shape, in `table.pixel_shape`, or as a square, otherwise flat.

    Numbers keep the type of the file: images of one table must not differ in their white value.
    """
    shaped = [_shape(plane, shape) for plane in planes]
    if len({plane.shape for plane in shaped}) > 1:
        raise ValueError(f"its channels have {' and '.join(str(plane.size) for plane in shaped)} values")
    return shaped[0] if len(shaped) == 1 else np.stack(shaped, -1)


def _shape(plane: np.ndarray, shape: Shape) -> np.ndarray:
    if plane.ndim > 1:
        return plane
    if shape is not None:
        if math.prod(shape) != plane.size:
            raise ValueError(f"it has {plane.size} values, but table.pixel_shape {_product(shape)}")
        return plane.reshape(shape)
    # Anything but a square stays flat, and `fault` has asked for a shape before any image was read.
    side = math.isqrt(plane.size)
    return plane.reshape(side, side) if side * side == plane.size else plane


def is_square(count: int) -> bool:
    """Return whether so many pixels could be a square."""
    return math.isqrt(count) ** 2 == count


def oblongs(count: int) -> list[tuple[int, int]]:
    """Return the heights and widths, up to twice as wide as high, that so many pixels could have, widest last."""
    heights = range(math.isqrt(count), 0, -1)
    return [(height, count // height) for height in heights if count % height == 0 and count <= 2 * height**2]


def _product(shape: Sequence[int]) -> str:
    return f"has {' x '.join(map(str, shape))} = {math.prod(shape)}"


def find_id_column(frame: pd.DataFrame) -> str | None:
    """Return the first column that is named like ids and has unique cells that are not fractions."""
    for column in map(str, frame.columns):
        cells = frame[column]
        if ID_NAME.fullmatch(column) and cells.is_unique and not cells.str.fullmatch(r"|-?\d*\.\d+").any():
            return column
    return None
