"""What lies in a competition's folder: tables, images by folder, what some images look like, and whose they are."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config.file_kinds import TABLE_READERS, kind_of_name
from imettk.data.csv_files import LISTED, is_utf8, list_names, require_utf8
from imettk.data.decode import is_image
from imettk.data.file_facts import FileFacts, describe_brightness, join_facts, suggest_white
from imettk.data.file_tree import NamedTree
from imettk.data.image_files import ENDING_SIGNS, IMAGE_ENDINGS, compose
from imettk.data.part_names import is_within
from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.data.table_files import NoTableError, read_file
from imettk.errors import DataError
from imettk.starter.containers import ARRAYS, Containers, add_arrays, find_containers
from imettk.starter.finding import Finding
from imettk.starter.insides import Insides, look_inside

ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"))
_SIGN = re.compile(f"[{re.escape(ENDING_SIGNS)}]")
TRIED = 5  # files of any other ending, by which it shows whether they are images
MOST_TABLES = 50  # of one ending, in the folder itself or below it
DEPTH = 5  # folders below the competition's that are looked into
LOOKED_AT = 48  # images that are decoded
GREY_LIMIT = 1.0  # mean difference between channels of what is grey, of 255: JPEGs are not exact
WIDE = 2.0  # the aspect ratio from which on an image is a strip


@dataclass(frozen=True)
class Contents:
    """What lies in a folder; names are relative to it.

    Attributes:
        tables: every table that can be read, as text.
        images: the image files that lie directly in each folder, sorted; the competition's own folder is `.`.
        others: how many files there are of each other ending, in small letters; '' is none.
        unread: why a table cannot be read, and what else was passed over, one line each.
        forms: in what form the rows of a table stand, where it is no plain csv.
        remarks: how tables had to be read, one line each.
        containers: files that hold many images, each as a folder of `images`.
    """

    tables: dict[str, pd.DataFrame]
    images: dict[str, list[str]]
    unread: list[str]
    others: Counter[str] = field(default_factory=Counter)
    forms: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    containers: Containers = field(default_factory=Containers)

    @property
    def num_images(self) -> int:
        """In all folders."""
        return sum(map(len, self.images.values()))

    @cached_property
    def tree(self) -> NamedTree:
        """All images, by the names of their files."""
        return NamedTree(self.below("."))

    @cached_property
    def heads(self) -> frozenset[str]:
        """What names of images begin with, up to each sign behind which a file's name may go on."""
        names = {compose(name) for files in self.images.values() for name in files}
        return frozenset(names | {name[:at] for name in names for at in sign_places(name)})

    def below(self, folder: str) -> list[str]:
        """The images in a folder and in all folders below it, by their name from there."""
        names = []
        for inner, files in self.images.items():
            if is_within(inner, folder):
                way = os.path.relpath(inner, folder)
                names += files if way == "." else [f"{way}/{name}" for name in files]
        return names

    def folders(self) -> list[str]:
        """Folders that hold images, directly or further below."""
        found = set(self.images)
        for folder in self.images:
            parts = folder.split("/")
            found |= {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        return sorted(found | {"."} if found else found)


def sign_places(name: str) -> list[int]:
    """Return where in a file's name an id may end."""
    return [match.start() for match in _SIGN.finditer(name)]


def look_into(data_dir: Path) -> Contents:
    """List the tables and images of a competition's folder; nothing is written.

    Raises:
        DataError: it is no folder, or holds no image.
    """
    if not data_dir.is_dir():
        raise DataError(f"{data_dir} is no folder: --data must be the competition's, with its images and tables")
    require_utf8(data_dir)
    odd, unread = list[str](), list[str]()
    walked = list(_walk(data_dir, ".", odd, unread))
    paths = [_path(folder, name) for folder, files in walked for name in files]
    arrays = [path for path in paths if _ending(path) in ARRAYS]
    found = find_containers(data_dir, [path for path in paths if _ending(path) not in ARRAYS])
    contents = Contents({}, found.images, [*unread, *found.unread, *map(str, found.missing)], containers=found)
    others, tables = list[str](), list[str]()
    for folder, files in walked:
        for name in files:
            if (path := _path(folder, name)) in found.files or _ending(name) in ARRAYS:
                continue
            if _ending(name) in IMAGE_ENDINGS:
                contents.images.setdefault(folder, []).append(name)
            else:
                (others if kind_of_name(TABLE_READERS, name) is None else tables).append(path)
    _read_tables(tables, data_dir, contents)
    for csv, frame in found.tables.items():
        contents.tables[csv], contents.forms[csv] = frame, f"{len(frame)} rows that hold the images"
    add_arrays(found, data_dir, arrays, contents.tables)
    if odd:
        what = "that are neither files nor folders, or whose names are no UTF-8"
        contents.unread.append(f"passed over {list_names(sorted(odd), 'thing')} {what}")
    _sort_others(others, data_dir, contents)
    contents.unread[:] = dict.fromkeys(contents.unread)  # a library may be missing for a table as for its images
    if not contents.images:
        if found.missing:
            raise found.missing[0]
        raise DataError(f"{data_dir} holds no image ({', '.join(sorted(IMAGE_ENDINGS))}){_why_none(contents.others)}")
    return contents


def _read_tables(paths: Sequence[str], data_dir: Path, contents: Contents) -> None:
    """Read what may be tables; so many files of one ending are none, but belong to images: they are counted."""
    ways = Counter((_ending(path), "/" in path) for path in paths)
    for path in paths:
        if ways[_ending(path), "/" in path] > MOST_TABLES:
            contents.others[_ending(path)] += 1
            continue
        try:
            contents.tables[path], form = read_file(data_dir / path, contents.remarks)
        except NoTableError:
            contents.others[_ending(path)] += 1
        except DataError as error:
            contents.unread.append(str(error))
        else:
            contents.forms.update({path: form} if form else {})


def _path(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _sort_others(paths: Sequence[str], data_dir: Path, contents: Contents) -> None:
    """Files of other endings: those that turn out to be images are some, all others are counted."""
    for ending in sorted({_ending(path) for path in paths}):
        files = [path for path in paths if _ending(path) == ending]
        tried = [files[row] for row in np.unique(np.linspace(0, len(files) - 1, TRIED).astype(int))]
        if 2 * sum(is_image(str(data_dir / path)) for path in tried) <= len(tried):
            contents.others[ending] += len(files)
            continue
        for path in files:
            folder, _, name = path.rpartition("/")
            contents.images.setdefault(folder or ".", []).append(name)
    for names in contents.images.values():
        names.sort()


def _why_none(others: Counter[str]) -> str:
    """What a folder without images holds, and what to do."""
    if archives := {ending: count for ending, count in others.items() if ending in ARCHIVES}:
        return f"; it holds {list_endings(Counter(archives))}: unpack them"
    if others:
        return f"; it holds {list_endings(others)}, which are not read: write images from them, such as PNG"
    return ": is it the right folder?"


def list_endings(others: Counter[str]) -> str:
    """How many files there are of each ending: `160 .dcm, 2 .json`."""
    listed = ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in others.most_common(LISTED))
    return listed + (", ..." if len(others) > LISTED else "")


def _walk(data_dir: Path, way: str, odd: list[str], unread: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Folders with their files, both sorted, without hidden ones; pipes, links to nothing and names that are no text go
    to `odd`."""
    folders, files = [], []
    try:
        entries = [entry for entry in os.scandir(data_dir / way) if not entry.name.startswith(".")]
    except OSError as error:
        unread.append(f"{data_dir / way} cannot be read: {error.strerror}")
        return
    for entry in entries:
        inner = entry.name if way == "." else f"{way}/{entry.name}"
        if not is_utf8(entry.name):
            odd.append(inner)
        elif entry.is_dir():
            folders.append(inner)
        elif entry.is_file():
            files.append(entry.name)
        else:
            odd.append(inner)
    yield way, sorted(files)
    if way.count("/") < DEPTH:
        for folder in sorted(folders):
            yield from _walk(data_dir, folder, odd, unread)


@dataclass(frozen=True)
class Looks:
    """What some images look like.

    Attributes:
        number: of images that were decoded.
        grey: whether all of them are, however they are stored.
        size: their median (height, width) in pixels.
        strips: the share of them more than twice as long as wide, or the reverse.
        mean, std: of values in [0, 1], a channel each: one for grey images, three for colour, or one a channel file.
        unread: why an image cannot be read, one line each.
        insides: how those are to be read that are no plain pictures, or of more than 8 bits.
    """

    number: int
    grey: bool
    size: tuple[int, int]
    strips: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    unread: list[str]
    insides: Insides = field(default_factory=Insides)

    @property
    def channels(self) -> int:
        """Of an image that is one file."""
        return self.insides.channels or (1 if self.grey else 3)


def look_at(images: Sequence[Sequence[str]], shape: tuple[int, ...] | None = None) -> Looks:
    """Decode some images, spread over all; each is one file, or one a channel.

    Args:
        shape: of pixels in a row; see `table.pixel_shape`.

    Raises:
        DataError: none of them can be read.
    """
    chosen = np.unique(np.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).astype(int))
    samples = [images[row] for row in chosen.tolist()]
    insides = look_inside([path for paths in images for path in paths], shape)
    pixels, unread, facts = _decode_all(samples, insides.reader())
    if insides.white is None and (darker := suggest_white(facts)) is not None:
        pixels, unread, _ = _decode_all(samples, insides.reader(ValueRange(0, darker)))
        findings = [Finding("white", str(darker), describe_brightness(facts), "images.white"), *insides.findings]
        insides = replace(insides, white=darker, findings=findings)
    if not pixels:
        raise DataError(f"none of {len(chosen)} images can be read, the first: {unread[0]}")
    channels = insides.channels
    grey = channels is None and all(
        np.abs(np.diff(part.astype(np.int16), axis=2)).mean() < GREY_LIMIT for image in pixels for part in image
    )
    sizes = np.array([image[0].shape[:2] for image in pixels])
    aspects = sizes.max(1) / sizes.min(1)
    values = [[(part[:, :, :1] if grey else part) / 255.0 for part in image] for image in pixels]
    mean = np.mean([np.concatenate([part.mean((0, 1)) for part in image]) for image in values], axis=0)
    square = np.mean([np.concatenate([(part**2).mean((0, 1)) for part in image]) for image in values], axis=0)
    std = np.sqrt(np.maximum(square - mean**2, 1e-4))
    return Looks(
        number=len(pixels),
        grey=bool(grey),
        size=(int(np.median(sizes[:, 0])), int(np.median(sizes[:, 1]))),
        strips=float((aspects > WIDE).mean()),
        mean=tuple(round(float(value), 3) for value in mean),
        std=tuple(round(float(value), 3) for value in std),
        unread=unread,
        insides=insides,
    )


def _decode_all(
    images: Sequence[Sequence[str]], reader: ImageReader
) -> tuple[list[list[np.ndarray]], list[str], FileFacts]:
    """The files of each image that can be read, why others cannot, and what was noticed of them."""
    pixels, unread, noticed = [], [], []
    for paths in images:
        noticed.append(facts := FileFacts())
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="PIL")  # of what it can read all the same
                pixels.append([reader.read_whole(path, facts=facts) for path in paths])
        except DataError as error:
            unread.append(str(error))
    return pixels, unread, join_facts(noticed)
