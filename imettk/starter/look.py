"""The contents of a competition's folder: its tables, its images by folder, and what these look like."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config.file_kinds import TABLE_READERS, kind_of_name
from imettk.data.csv_files import LISTED, require_utf8
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
from imettk.starter.walk import Skipped, path_in, walk

ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"))
_SIGN = re.compile(f"[{re.escape(ENDING_SIGNS)}]")
NUM_TRIED = 5  # files of an unknown extension that are tried, to see whether they are images
# If there are more tables of one extension, in the folder itself or below it, they belong to images (boxes, outlines).
MAX_TABLES = 50
NUM_DECODED = 48  # images to decode
GREY_LIMIT = 1.0  # grey images differ by less between channels, in the mean and of 255: JPEG is not exact
STRIP_ASPECT = 2.0  # an image with a larger aspect ratio is a strip


@dataclass(frozen=True)
class Contents:
    """The contents of a folder; names are relative to it.

    Attributes:
        tables: every table that can be read, as text.
        images: the image files directly in each folder, sorted; the competition's own folder is `.`.
        others: the number of files of each other extension, in lower case; '' for none.
        unread: why a table cannot be read, and what else was passed over, one line each.
        forms: a description of each table that is not a plain csv file.
        remarks: peculiarities of tables, one line each.
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
        """Number of images in all folders."""
        return sum(map(len, self.images.values()))

    @cached_property
    def tree(self) -> NamedTree:
        """All images, searchable by the names of their files."""
        return NamedTree(self.below("."))

    @cached_property
    def heads(self) -> frozenset[str]:
        """The names of images, and their beginnings up to each sign at which an id may end."""
        names = {compose(name) for files in self.images.values() for name in files}
        return frozenset(names | {name[:at] for name in names for at in sign_places(name)})

    def below(self, folder: str) -> list[str]:
        """Return the images in a folder and in all folders below it, by their path within it."""
        names = []
        for inner, files in self.images.items():
            if is_within(inner, folder):
                path = os.path.relpath(inner, folder)
                names += files if path == "." else [f"{path}/{name}" for name in files]
        return names

    def folders(self) -> list[str]:
        """Return the folders that hold images, directly or further down."""
        folders = set(self.images)
        for folder in self.images:
            parts = folder.split("/")
            folders |= {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        return sorted(folders | {"."} if folders else folders)


def sign_places(name: str) -> list[int]:
    """Return the positions in a file's name at which an id may end."""
    return [match.start() for match in _SIGN.finditer(name)]


def look_into(data_dir: Path) -> Contents:
    """List the tables and images of a competition's folder; nothing is written.

    Raises:
        DataError: it is not a folder, or contains no image.
    """
    if not data_dir.is_dir():
        raise DataError(f"{data_dir} is not a folder: --data must be the competition's folder of images and tables")
    require_utf8(data_dir)
    skipped = Skipped()
    walked = list(walk(data_dir, ".", skipped))
    paths = [path_in(folder, name) for folder, files in walked for name in files]
    arrays = [path for path in paths if _ending(path) in ARRAYS]
    found = find_containers(data_dir, [path for path in paths if _ending(path) not in ARRAYS])
    unread = [*skipped.unread, *found.unread, *map(str, found.missing)]
    contents = Contents({}, found.images, unread, containers=found)
    others, tables = list[str](), list[str]()
    for folder, files in walked:
        for name in files:
            if (path := path_in(folder, name)) in found.files or _ending(name) in ARRAYS:
                continue
            if _ending(name) in IMAGE_ENDINGS:
                contents.images.setdefault(folder, []).append(name)
            else:
                (others if kind_of_name(TABLE_READERS, name) is None else tables).append(path)
    _read_tables(tables, data_dir, contents)
    for csv, frame in found.tables.items():
        contents.tables[csv], contents.forms[csv] = frame, f"{len(frame)} rows that hold the images"
    # Only now: whether an array is an image or holds many depends on the ids in the tables.
    add_arrays(found, data_dir, arrays, contents.tables)
    contents.unread.extend(skipped.lines())
    _sort_others(others, data_dir, contents)
    # One missing library may keep a file from being read both as a table and as images: say it once.
    contents.unread[:] = dict.fromkeys(contents.unread)
    if not contents.images:
        if found.missing:
            raise found.missing[0]
        kinds = ", ".join(sorted(IMAGE_ENDINGS))
        raise DataError(f"{data_dir} contains no image ({kinds}){_why_none(contents.others)}")
    return contents


def _read_tables(paths: Sequence[str], data_dir: Path, contents: Contents) -> None:
    """Read the files that may be tables, and count those of an extension with too many of them."""
    counts = Counter((_ending(path), "/" in path) for path in paths)
    for path in paths:
        if counts[_ending(path), "/" in path] > MAX_TABLES:
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


def _ending(name: str) -> str:
    """Return the extension of a name, in lower case."""
    return os.path.splitext(name)[1].lower()


def _sort_others(paths: Sequence[str], data_dir: Path, contents: Contents) -> None:
    """Add files of unknown extensions to the images if most of an extension's can be decoded; count all others."""
    for ending in sorted({_ending(path) for path in paths}):
        files = [path for path in paths if _ending(path) == ending]
        tried = [files[row] for row in np.unique(np.linspace(0, len(files) - 1, NUM_TRIED).astype(int))]
        if 2 * sum(is_image(str(data_dir / path)) for path in tried) <= len(tried):
            contents.others[ending] += len(files)
            continue
        for path in files:
            folder, _, name = path.rpartition("/")
            contents.images.setdefault(folder or ".", []).append(name)
    for names in contents.images.values():
        names.sort()


def _why_none(others: Counter[str]) -> str:
    """Describe what a folder without images contains, and what to do."""
    if archives := {ending: count for ending, count in others.items() if ending in ARCHIVES}:
        return f"; it contains {list_endings(Counter(archives))}: unpack them"
    if others:
        return f"; it contains {list_endings(others)}, which cannot be read: convert them to images, such as PNG"
    return ": is it the right folder?"


def list_endings(others: Counter[str]) -> str:
    """List the number of files of each extension: `160 .dcm, 2 .json`."""
    listed = ", ".join(f"{count} {ending or 'without an extension'}" for ending, count in others.most_common(LISTED))
    return listed + (", ..." if len(others) > LISTED else "")


@dataclass(frozen=True)
class Looks:
    """Properties of some decoded images.

    Attributes:
        number: number of decoded images.
        grey: all of them are grey, even if stored in colour.
        size: their median (height, width) in pixels.
        strips: the share of them more than twice as long as wide, or the reverse.
        mean, std: of values in [0, 1], for each channel: one for grey images, three for colour, or one per channel
            file.
        unread: why an image cannot be read, one line each.
        insides: how to read images that are not plain pictures, or have more than 8 bits.
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
        """Channels of an image that is one file."""
        return self.insides.channels or (1 if self.grey else 3)


def look_at(images: Sequence[Sequence[str]], shape: tuple[int, ...] | None = None) -> Looks:
    """Decode some images, evenly spaced among all.

    Args:
        images: the files of each image, one or one per channel.
        shape: the shape of images stored as rows of pixels; see `table.pixel_shape`.

    Raises:
        DataError: none of the images can be read.
    """
    chosen = np.unique(np.linspace(0, len(images) - 1, min(NUM_DECODED, len(images))).astype(int))
    samples = [images[row] for row in chosen.tolist()]
    insides = look_inside([path for paths in images for path in paths], shape)
    pixels, unread, facts = _decode_all(samples, insides.reader())
    if insides.white is None and (darker := suggest_white(facts)) is not None:
        # Images of 12 bits in files of 16 are nearly black: mean and std below must be those of brightened pixels.
        pixels, unread, _ = _decode_all(samples, insides.reader(ValueRange(0, darker)))
        findings = [Finding("white", str(darker), describe_brightness(facts), "images.white"), *insides.findings]
        insides = replace(insides, white=darker, findings=findings)
    if not pixels:
        raise DataError(f"none of {len(chosen)} images can be read; the first: {unread[0]}")
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
        strips=float((aspects > STRIP_ASPECT).mean()),
        mean=tuple(round(float(value), 3) for value in mean),
        std=tuple(round(float(value), 3) for value in std),
        unread=unread,
        insides=insides,
    )


def _decode_all(
    images: Sequence[Sequence[str]], reader: ImageReader
) -> tuple[list[list[np.ndarray]], list[str], FileFacts]:
    """Return the pixels of each image that can be read, why others cannot, and facts about the files."""
    pixels, unread, all_facts = [], [], []
    for paths in images:
        all_facts.append(facts := FileFacts())
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="PIL")  # about files that it can read all the same
                pixels.append([reader.read_whole(path, facts=facts) for path in paths])
        except DataError as error:
            unread.append(str(error))
    return pixels, unread, join_facts(all_facts)
