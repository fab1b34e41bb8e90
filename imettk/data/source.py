"""The source of a table's pixels: a cache if it holds them, otherwise their files."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
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

# As `PIXELS_VERSION`, for TIFF files only, so that caches without them are kept. Before version 2 no cache recorded it,
# and some deep TIFFs were decoded wrongly (small values that are bright, byte order, separate channels).
TIFF_VERSION = 2


def make_reader(recipe: Recipe, white: ValueRange | None = None) -> ImageReader:
    """Return the reader of a recipe's image files; raise `ConfigError` if a user's own reader is missing.

    Args:
        white: values at the percentiles that `images.white` asks for.
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
    """Return black and white if the recipe states them."""
    white = None if recipe.images.white is None else parse_white(recipe.images.white)
    return None if white is None else ValueRange(white.black, white.white)


def cache_key(reader: ImageReader, kind: str, quality: int, names: Iterable[str] = ()) -> str:
    """Return 16 hex digits of everything, except the files, that determines the content of a cache.

    Args:
        names: names of its images; see `image_names`.
    """
    settings = reader.settings() | {"kind": kind} | ({"quality": quality} if kind == "jpeg" else {})
    if any(".tif" in name.lower() for name in names):  # caches without TIFFs keep the key of earlier versions
        settings["tiff"] = TIFF_VERSION
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def image_names(table: SampleTable, data_dir: Path) -> list[str]:
    """Return the name of each image: its path (relative to the data folder if inside), its box, and if it is turned.

    A cached image is used only under the same name, so a changed box never shows the old region.
    """
    prefix = str(data_dir / "_")[:-1]  # empty for "."
    names = [path.removeprefix(prefix) for path in table.paths.tolist()]
    if table.boxes is not None:
        for row in np.flatnonzero(~np.isnan(table.boxes[:, 0])):
            names[row] += " box " + " ".join(f"{corner:.7g}" for corner in table.boxes[row])
    if table.turned is not None:
        for row in np.flatnonzero(table.turned):
            names[row] += " turned"
    return names


class ImageSource:
    """Reads images by their row in a table.

    An image comes from the cache only if its file is still the one that was cached: same size and time, or else the
    same hash (see `hash_files`). While size and time are unchanged, no file is opened.

    Attributes:
        num_cached: number of images that come from the cache.
        num_changed: number of images whose file has changed since it was cached.
        faults: reason for each row that a loader could not read and skipped.

    Args:
        cache: cache of images read in the same way; None reads all from their files.
        names: result of `image_names`; only needed with a cache.
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
            # By name, not by position: rows may have been added, removed or reordered since.
            rows = find_rows(cache.names, np.array(names, np.str_))
            # What could not be read then may have been repaired or added since.
            rows[np.isin(rows, list(cache.bad))] = -1
            self._cached_rows = np.where(self._are_unchanged(cache, rows), rows, -1)
            self.num_changed = int((rows != self._cached_rows).sum())
        self.num_cached = int((self._cached_rows >= 0).sum())

    def _are_unchanged(self, cache: ImageCache, rows: np.ndarray) -> np.ndarray:
        """Return which images are cached (rows of the cache, -1 if not) and have an unchanged file, bool (N,)."""
        sizes, times = stat_files(self._paths, self._reader.channel_files)
        same = (rows >= 0) & (cache.sizes[rows] == sizes)
        if cache.stamps is None:
            return same
        then = cache.stamps.take(rows)
        # Same size, other time: a mounted copy of a data set has new times, so the content decides.
        places = np.flatnonzero(same & (then.times != times))
        same[places] = hash_files(self._paths[places], self._reader.channel_files) == then.hashes[places]
        self._hashes[same], self._hashed[same] = then.hashes[same], True  # so that `fingerprint` opens no file either
        return same

    def fingerprint(self, rows: np.ndarray) -> str:
        """Hash the files and used regions of some images, int64 (M,); 16 hex digits."""
        places = rows[~self._hashed[rows]]
        self._hashes[places] = hash_files(self._paths[places], self._reader.channel_files)
        self._hashed[places] = True
        parts = [self._hashes, *(part for part in (self._boxes, self._turned) if part is not None)]
        return hashlib.sha256(b"".join(np.ascontiguousarray(part[rows]).tobytes() for part in parts)).hexdigest()[:16]

    def at_least(self, size: tuple[int, int]) -> ImageSource:
        """Return this source if its images are of this size, (height, width), or larger.

        Otherwise return one that reads them in this size, from their files; it shares the faults that loaders find.
        """
        if all(have >= wanted for have, wanted in zip(self.size, size, strict=True)):
            return self
        larger = copy.copy(self)
        larger.size, larger._reader, larger._cache = size, replace(self._reader, size=size), None
        return larger

    def __len__(self) -> int:
        return len(self._paths)

    def path(self, row: int) -> str:
        """Return the file of an image; with a `*` if it is several files."""
        return str(self._paths[row])

    def unread(self, rows: np.ndarray | None = None) -> str:
        """Count and list the images, among these rows or all, that a loader could not read; empty without any."""
        bad = sorted(self.faults) if rows is None else [row for row in rows.tolist() if row in self.faults]
        return list_names((os.path.basename(self.path(row)) for row in bad), "image") if bad else ""

    def describe(self) -> str:
        """Return the source of the images as far as it affects pixels: a cache of JPEGs is slightly lossy."""
        return "jpeg cache" if self._cache is not None and self._cache.kind == "jpeg" else "exact"

    def read(self, row: int, *, facts: FileFacts | None = None) -> np.ndarray:
        """Return the pixels of an image, uint8 (height, width, channels).

        Args:
            facts: receives facts about a file that is read.

        Raises:
            DataError: it cannot be read; the message names its file.
        """
        if self._cache is not None and (cached := int(self._cached_rows[row])) >= 0:
            return self._cache.read(cached)
        box = None if self._boxes is None else self._boxes[row]
        turned = self._turned is not None and bool(self._turned[row])
        return self._reader.read(self.path(row), box=box, turned=turned, facts=facts)


def find_rows(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the position of each wanted name among the known ones, int64; -1 if it is not there."""
    if np.array_equal(known[: len(wanted)], wanted):  # usual: a table's own cache begins with the training rows
        return np.arange(len(wanted))
    order = np.argsort(known, kind="stable")
    places = np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)
    rows = order[places]
    return np.where(known[rows] == wanted, rows, -1)


def wanted_kinds(plan: CacheConfig) -> tuple[str, ...]:
    """Return the kinds of cache that a plan allows, best first."""
    return {"none": (), "auto": ("pixels", "jpeg")}.get(plan.kind, (plan.kind,))
