"""Where the pixels of a table's images come from: a cache where it has them, else their files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from imettk.config import CacheConfig, Recipe
from imettk.config.choices import READERS
from imettk.config.fits import choice_of
from imettk.config.white import parse_white
from imettk.data.cache import ImageCache
from imettk.data.csv_files import list_names
from imettk.data.file_facts import FileFacts
from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.data.sample_table import SampleTable
from imettk.data.stamps import hash_files, stat_files

# Of what a TIFF becomes: goes up as `PIXELS_VERSION` does, but caches without such files are kept. None said so before
# 2, when deep ones whose small values are bright, or whose bytes or channels had been mixed up, were not read rightly.
TIFF_VERSION = 2


def make_reader(recipe: Recipe, white: ValueRange | None = None) -> ImageReader:
    """How a recipe's image files are read; `ConfigError` where a user's own reader is not there.

    Args:
        white: where `images.white` asks for percentiles, the values at which they lie.
    """
    images, table = recipe.images, recipe.table
    return ImageReader(
        size=images.load_size or images.image_size,
        channels=images.channels,
        channel_files=table.channel_files,
        aspect=images.aspect,
        aspect_limit=images.aspect_limit,
        box_margin=images.box_margin,
        boxes_relative=table.box_format == "centre",
        background=images.background,
        orient=images.orient,
        reduce=images.reduced_decode,
        fast_resize=images.fast_resize,
        max_pixels=images.max_pixels,
        white=white or _given_range(recipe),
        frame=images.frame,
        pixel_shape=table.pixel_shape,
        decoder=choice_of(recipe, images.reader, READERS),
    )


def _given_range(recipe: Recipe) -> ValueRange | None:
    """The values that a recipe itself says are black and white."""
    white = None if recipe.images.white is None else parse_white(recipe.images.white)
    return None if white is None else ValueRange(white.black, white.white)


def cache_key(reader: ImageReader, kind: str, quality: int, names: Iterable[str] = ()) -> str:
    """16 hex digits of everything but the files that decides what a cache holds.

    Args:
        names: of its images, as `image_names` gives them.
    """
    settings = reader.settings() | {"kind": kind} | ({"quality": quality} if kind == "jpeg" else {})
    if any(".tif" in name.lower() for name in names):
        settings["tiff"] = TIFF_VERSION
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def image_names(table: SampleTable, data_dir: Path) -> list[str]:
    """What each image is, as text: its path (within the data folder if it lies there), its box, whether it is turned.

    An image is taken from a cache only by the same name, so a box that has changed is not seen by the old one.
    """
    prefix = str(data_dir / "_")[:-1]  # of "." it is empty
    names = [path.removeprefix(prefix) for path in table.paths.tolist()]
    if table.boxes is not None:
        for row in np.flatnonzero(~np.isnan(table.boxes[:, 0])):
            names[row] += " box " + " ".join(f"{corner:.7g}" for corner in table.boxes[row])
    if table.turned is not None:
        for row in np.flatnonzero(table.turned):
            names[row] += " turned"
    return names


class ImageSource:
    """Reads images by their position in a table.

    An image comes from the cache only while its file is the one that the cache was made of: of the same size and time,
    or else with the same hash (see `hash_files`). No file is opened where size and time are the same.

    Attributes:
        num_cached: how many of them come from the cache.
        num_changed: how many are in the cache as they were before.
        faults: why, for each row that a loader could not read and skipped.

    Args:
        cache: of images read in the same way; None reads all from their files.
        names: as `image_names` gives them; only needed with a cache.
    """

    def __init__(
        self,
        table: SampleTable,
        reader: ImageReader,
        *,
        cache: ImageCache | None = None,
        names: list[str] | None = None,
    ) -> None:
        self.faults: dict[int, str] = {}
        self.size, self.channels = reader.size, reader.channels
        self._reader = reader
        self._paths, self._boxes, self._turned = table.paths, table.boxes, table.turned
        self._cache = cache
        self._cached_rows = np.full(len(table), -1, np.int64)
        self._hashes = np.zeros(len(table), np.int64)
        self._hashed = np.zeros(len(table), bool)
        self.num_changed = 0
        if cache is not None:
            rows = find_rows(cache.names, np.array(names, np.str_))
            # What could not be read then may have been mended or added since.
            rows[np.isin(rows, list(cache.bad))] = -1
            self._cached_rows = np.where(self._are_unchanged(cache, rows), rows, -1)
            self.num_changed = int((rows != self._cached_rows).sum())
        self.num_cached = int((self._cached_rows >= 0).sum())

    def _are_unchanged(self, cache: ImageCache, rows: np.ndarray) -> np.ndarray:
        """Return which images the cache holds, at these rows (-1 where not), as their files are now, bool (N,)."""
        sizes, times = stat_files(self._paths, self._reader.channel_files)
        same = (rows >= 0) & (cache.sizes[rows] == sizes)
        if cache.stamps is None:
            return same
        then = cache.stamps.take(rows)
        places = np.flatnonzero(same & (then.times != times))
        same[places] = hash_files(self._paths[places], self._reader.channel_files) == then.hashes[places]
        self._hashes[same], self._hashed[same] = then.hashes[same], True
        return same

    def fingerprint(self, rows: np.ndarray) -> str:
        """Hash the files of some images, int64 (M,), and which part of them is looked at; 16 hex digits."""
        places = rows[~self._hashed[rows]]
        self._hashes[places] = hash_files(self._paths[places], self._reader.channel_files)
        self._hashed[places] = True
        parts = [self._hashes, *(part for part in (self._boxes, self._turned) if part is not None)]
        return hashlib.sha256(b"".join(np.ascontiguousarray(part[rows]).tobytes() for part in parts)).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._paths)

    def path(self, row: int) -> str:
        """The file of an image; with a `*` where it is several."""
        return str(self._paths[row])

    def unread(self, rows: np.ndarray | None = None) -> str:
        """Count and names of the images, among these rows or all, that a loader could not read; empty without any."""
        bad = sorted(self.faults) if rows is None else [row for row in rows.tolist() if row in self.faults]
        return list_names((os.path.basename(self.path(row)) for row in bad), "image") if bad else ""

    def describe(self) -> str:
        """Where images come from, as far as it changes their pixels: JPEGs of a cache have lost a little."""
        return "jpeg cache" if self._cache is not None and self._cache.kind == "jpeg" else "exact"

    def read(self, row: int, *, facts: FileFacts | None = None) -> np.ndarray:
        """Pixels of an image, uint8 (height, width, channels).

        Args:
            facts: is told what is noticed of a file that is read.

        Raises:
            DataError: it cannot be read; the message names its file.
        """
        if self._cache is not None and (cached := int(self._cached_rows[row])) >= 0:
            return self._cache.read(cached)
        box = None if self._boxes is None else self._boxes[row]
        turned = self._turned is not None and bool(self._turned[row])
        return self._reader.read(self.path(row), box=box, turned=turned, facts=facts)


def find_rows(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted name stands among the known, int64; -1 where it does not."""
    if np.array_equal(known[: len(wanted)], wanted):  # the training table stands first in its own cache
        return np.arange(len(wanted))
    order = np.argsort(known, kind="stable")
    places = np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)
    rows = order[places]
    return np.where(known[rows] == wanted, rows, -1)


def wanted_kinds(plan: CacheConfig) -> tuple[str, ...]:
    """Kinds of cache that a plan allows, the best first."""
    return {"none": (), "auto": ("pixels", "jpeg")}.get(plan.kind, (plan.kind,))
