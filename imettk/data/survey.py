"""One parallel pass over every image: bad files, statistics, and the cache. A kill loses at most one part."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from imettk.data.cache import INDEX, encode_jpeg, part_path, plan_parts, read_part_values, write_part
from imettk.data.file_facts import FileFacts, facts_as_json, facts_from_json, join_facts
from imettk.data.stamps import FileStamps
from imettk.errors import DataError
from imettk.files import replace_atomically
from imettk.progress import progress_bar

SAMPLED = 32  # images encoded to estimate the size of a cache of JPEGs


@dataclass(frozen=True, kw_only=True)
class CacheTarget:
    """A cache to write.

    Attributes:
        kind: `pixels` or `jpeg`.
        key: hash of the settings that determine its pixels; a cache with another key is rebuilt.
        quality: quality of JPEGs.
    """

    folder: Path
    kind: str
    key: str
    quality: int


@dataclass(frozen=True)
class Survey:
    """Results of the pass.

    Attributes:
        bad: reasons why images cannot be read, by position.
        histogram: number of pixels of each value, int64 (channels, 256), over all other images.
        facts: facts about all files, if the reader recorded any.
    """

    bad: dict[int, str]
    histogram: np.ndarray
    facts: FileFacts = field(default_factory=FileFacts)

    @property
    def mean(self) -> list[float]:
        """Mean of values in [0, 1], one per channel."""
        return [float(row @ _LEVELS / row.sum()) for row in self.histogram if row.sum()]

    @property
    def std(self) -> list[float]:
        """Standard deviation of values in [0, 1] over all pixels of all images, one per channel."""
        moments = ((row @ _LEVELS / row.sum(), row @ _LEVELS**2 / row.sum()) for row in self.histogram if row.sum())
        return [float(np.sqrt(max(0.0, square - mean**2))) for mean, square in moments]


_LEVELS = np.arange(256) / 255


class _Image(NamedTuple):
    """Result for one image: pixels or JPEG for the cache, its histogram, or the reason why it cannot be read."""

    kept: np.ndarray | bytes | None
    histogram: np.ndarray | None
    fault: str | None


def estimate_bytes(
    read: Callable[[int], np.ndarray], num_images: int, shape: tuple[int, int, int], kind: str, quality: int
) -> int:
    """Estimate the size of a cache: exact for pixels; for JPEGs from `SAMPLED` images spread over all."""
    if kind == "pixels":
        return num_images * int(np.prod(shape))
    lengths = []
    for row in np.linspace(0, num_images - 1, min(SAMPLED, num_images)).astype(int):
        try:
            lengths.append(len(encode_jpeg(read(int(row)), quality)))
        except DataError:  # the pass itself will report it
            continue
    return int(num_images * (np.mean(lengths) if lengths else np.prod(shape)))


def survey_images(
    read: Callable[[int], np.ndarray],
    names: Sequence[str],
    stamps: FileStamps,
    shape: tuple[int, int, int],
    *,
    cache: CacheTarget | None = None,
    notes: Mapping[int, FileFacts] | None = None,
) -> Survey:
    """Read every image once.

    Args:
        read: returns an image, uint8 of `shape`, by position, or raises `DataError`; several threads call it.
        names: names of the images; see `image_names`.
        stamps: stamps of the images' files, which reveal a replaced file.
        shape: (height, width, channels).
        cache: cache to write; its existing parts are kept if nothing has changed.
        notes: facts that `read` records about each image's file, by position.
    """
    plan = plan_parts(len(names), float(np.prod(shape)))
    bad: dict[int, str] = {}
    contents: list[str] = []
    histogram, facts = np.zeros((shape[2], 256), np.int64), []
    if cache is not None:
        for left in [*cache.folder.glob("*.tmp"), *cache.folder.glob(".tmp*")]:  # ours and safetensors', after a kill
            left.unlink()
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress_bar("read images" if cache is None else "cache images", total=len(names), unit="image") as bar,
    ):
        warnings.filterwarnings("ignore", module="PIL")  # about files that it reads nevertheless
        # Threads, not processes: OpenCV and Pillow release the GIL while they decode, and pixels need not be sent.
        maker = _PartMaker(pool, read, shape, cache, {} if notes is None else notes, bar.update)
        for part in range(plan.num_parts):
            rows = plan.rows(part)
            lines = json.dumps([[names[row], int(stamps.hashes[row])] for row in rows])
            contents.append(hashlib.sha256(lines.encode()).hexdigest())
            # A part that a killed run finished is kept if its images, their hashes and the settings are the same.
            values = None if cache is None else _finished_part(cache, part, contents[part])
            if values is None:
                values = maker.make(part, rows, contents[part])
            else:
                bar.update(len(rows))
            bad |= {int(row): fault for row, fault in values["bad"].items()}
            histogram += np.array(values["histogram"], np.int64)
            facts.append(facts_from_json(values.get("facts")))
    if cache is not None:
        index = {"size": list(shape[:2]), "channels": shape[2], "rows_per_part": plan.rows_per_part, "parts": contents}
        images = {"names": list(names)} | {name: part.tolist() for name, part in stamps._asdict().items()}
        faults = {str(row): fault for row, fault in bad.items()}
        _finish(cache, index | {"bad": faults, "images": images})
    return Survey(bad, histogram, join_facts(facts))


def _finished_part(cache: CacheTarget, part: int, contents: str) -> dict[str, Any] | None:
    values = read_part_values(part_path(cache.folder, part))
    same = values is not None and (values["key"], values["contents"]) == (cache.key, contents)
    return values if same else None


class _PartMaker(NamedTuple):
    """The parameters that all parts of a pass share; `update` counts the images that were read."""

    pool: ThreadPoolExecutor
    read: Callable[[int], np.ndarray]
    shape: tuple[int, int, int]
    cache: CacheTarget | None
    notes: Mapping[int, FileFacts]
    update: Callable[[int], object]

    def make(self, part: int, rows: range, contents: str) -> dict[str, Any]:
        """Read the images of a part, write it if there is a cache, and return the values of its header."""
        images = []
        for image in self.pool.map(self._work, rows):
            images.append(image)
            self.update(1)
        zero = np.zeros((self.shape[2], 256))
        histogram = sum((image.histogram for image in images if image.histogram is not None), zero)
        values = {
            "bad": {str(row): image.fault for row, image in zip(rows, images, strict=True) if image.fault is not None},
            "histogram": np.asarray(histogram).astype(np.int64).tolist(),
            "facts": facts_as_json(join_facts(self.notes[row] for row in rows if row in self.notes)),
        }
        if (cache := self.cache) is not None:
            empty = b"" if cache.kind == "jpeg" else np.zeros(self.shape, np.uint8)
            kept = [empty if image.kept is None else image.kept for image in images]
            cache.folder.mkdir(parents=True, exist_ok=True)
            (cache.folder / INDEX).unlink(missing_ok=True)  # before the first new part: an index means a complete cache
            header = values | {"key": cache.key, "contents": contents}
            write_part(part_path(cache.folder, part), kept, self.shape[:2], header)
        return values

    def _work(self, row: int) -> _Image:
        try:
            pixels = self.read(row)
        except DataError as error:
            return _Image(None, None, str(error))
        kept: np.ndarray | bytes | None = None
        if self.cache is not None:
            kept = encode_jpeg(pixels, self.cache.quality) if self.cache.kind == "jpeg" else pixels
        return _Image(kept, _histogram(pixels), None)


def _histogram(pixels: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            cv2.calcHist([pixels], [channel], None, [256], [0, 256]).ravel()
            for channel in range(pixels.shape[2])
        ]
    )  # fmt: skip


def _finish(cache: CacheTarget, index: dict[str, Any]) -> None:
    """Remove the remains of an older cache, then write the index that makes this one complete."""
    wanted = {part_path(cache.folder, part) for part in range(len(index["parts"]))}
    for path in cache.folder.glob("part-*"):
        if path not in wanted:
            path.unlink()
    content = json.dumps({"key": cache.key, "kind": cache.kind, **index})
    with replace_atomically(cache.folder / INDEX) as temporary:
        temporary.write_text(content + "\n", encoding="utf-8")
    for name in ("names.txt", "bytes.txt"):  # version 0.1.0
        (cache.folder / name).unlink(missing_ok=True)
