"""The way from a table's ids to names of files: the folder that these lie in, and the suffix that follows the ids."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from imettk.data.file_search import Search
from imettk.data.file_tree import NamedTree
from imettk.data.image_files import compose, without_ending
from imettk.data.part_names import is_beside_images, is_held_out, is_part
from imettk.starter.look import Contents, sign_places

MAJORITY = 0.5  # a column names images if at least this share of its ids has a file
NEARLY_ALL = 0.95  # if so many ids have a file in one folder, the others are missing, not elsewhere
MAX_FOLDERS = 10  # folders that are searched thoroughly
COLOURS = ("red", "green", "blue")  # these channels come first, in this order


class Naming(NamedTuple):
    """The way in which a table's ids name files.

    Attributes:
        folder: the folder of these files.
        suffix: what follows most ids, with a `*` for the channel if an image is several files.
        channels: the values of `*`.
        files: the file of each id, by its path within the folder, str (N,), with `*` as in `suffix`; "" for none.
        number: number of files in the folder.
        direct: among ids with a file, the share whose file lies where they say, not in a folder further down.
    """

    folder: str
    suffix: str
    channels: tuple[str, ...]
    files: np.ndarray
    number: int = 0
    direct: float = 1.0

    @property
    def found(self) -> np.ndarray:
        """Mask of the ids whose image was found, bool (N,)."""
        return self.files != ""

    @property
    def share(self) -> float:
        """The share of ids that have an image."""
        return float(self.found.mean()) if len(self.files) else 0.0

    @property
    def is_beside_images(self) -> bool:
        """True if these are masks and the like, by a word in the folder's name or the suffix."""
        return is_beside_images(self.folder) or is_beside_images(self.suffix)

    def is_same(self, folder: str, files: np.ndarray) -> bool:
        """Return whether these files of a folder are the same, for all ids that have a file in both."""
        both = self.found & (files != "")
        pairs = zip(files[both].tolist(), self.files[both].tolist(), strict=True)
        return all(
            os.path.normpath(f"{folder}/{theirs}") == os.path.normpath(f"{self.folder}/{ours}")
            for theirs, ours in pairs
        )


def match_names(ids: pd.Series, contents: Contents) -> list[Naming]:
    """Return every folder in which these ids name files, the best one first.

    That is the folder with files of the most ids; among equal ones, the one with fewer other files. Masks and the like
    come after all folders with images of at least half of the ids. Files further down count if no single folder has a
    file of every id.
    """
    paths = [compose(name).replace("\\", "/") for name in ids.unique()]
    known = {path.rpartition("/")[2] for path in paths}
    stems = {without_ending(name) for name in known}
    nested = any("/" in path for path in paths)
    rows_in = _rows_in(ids, contents, nested=nested)
    places = {folder: contents.below(folder) if nested else contents.images[folder] for folder in _best(rows_in)}
    namings = _name_in(places, rows_in, ids, known, stems)
    if not nested and (not namings or namings[0].share < 1):
        likely = {naming.folder for naming in namings[:1]}
        if not namings or namings[0].share < NEARLY_ALL:
            likely |= {*_likely_folders(known, stems, contents)}
        rows_in = _rows_in(ids, contents, nested=True) if likely else {}
        namings += _name_in({folder: contents.below(folder) for folder in likely}, rows_in, ids, known, stems)
        namings.sort(key=_rank)
    first: dict[str, Naming] = {}
    for naming in namings:
        first.setdefault(naming.folder, naming)
    return [naming._replace(files=naming.files.astype(np.str_)) for naming in first.values()]


def best_in(namings: Sequence[Naming], is_part: Callable[[str], bool]) -> Naming | None:
    """Return the best naming, preferably in a folder of this part of the data; None without any."""
    best = [naming for naming in namings if naming.share == namings[0].share]
    return next(iter([*(naming for naming in best if is_part(naming.folder)), *best]), None)


def _rows_in(ids: pd.Series, contents: Contents, *, nested: bool) -> dict[str, set[int]]:
    """Return the rows whose ids may mean files in each folder, by the beginnings of these files' names.

    Args:
        nested: files in folders further down count too.
    """
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(ids.tolist()):
        base = compose(re.split(r"[/\\]", name)[-1])
        for key in {base, without_ending(base), base.removesuffix(".0")}:
            rows_of.setdefault(key, []).append(row)
    rows_in: dict[str, set[int]] = {}
    for folder, names in contents.images.items():
        rows: set[int] = set()
        for name in map(compose, names):
            for key in {name, without_ending(name), *(name[:at] for at in sign_places(name))}:
                rows.update(rows_of.get(key, ()))
        for above in (_with_parents(folder) if nested and folder != "." else [folder]) if rows else []:
            rows_in.setdefault(above, set()).update(rows)
    return rows_in


def _best(rows_in: Mapping[str, Collection[int]]) -> list[str]:
    """Return the folders with the most rows, separately for training and for testing."""
    # Only a few: to search thousands of folders for every id took hours, where images are nested by letters.
    order = sorted(rows_in, key=lambda folder: (-len(rows_in[folder]), folder))
    tests = [is_held_out(folder) for folder in order]
    parts = ([folder for folder, test in zip(order, tests, strict=True) if test is part] for part in (False, True))
    return [folder for part in parts for folder in part[:MAX_FOLDERS]]


def _name_in(
    places: Mapping[str, Sequence[str]],
    rows_in: Mapping[str, Collection[int]],
    ids: pd.Series,
    known: Collection[str],
    stems: Collection[str],
) -> list[Naming]:
    """Return the namings in those folders in which ids name files, the best first.

    Args:
        places: the files of each folder.
        rows_in: the rows whose ids may mean files there.
        known, stems: see `_find_suffix`.
    """
    namings = []
    for folder, names in places.items():
        suffix, channels = _find_suffix(known, stems, [compose(name.rpartition("/")[2]) for name in names])
        if suffix is None:
            continue
        rows = sorted(rows_in.get(folder, ()))
        meant = ids.iloc[rows]
        # Objects, not fixed-width text, which would take the longest name's memory for every row.
        files = np.full(len(ids), "", object)
        files[rows] = find_files(meant, names, suffix, channels)
        pairs = zip(meant.tolist(), files[rows].tolist(), strict=True)
        steps = [file.count("/") == name.count("/") for name, file in pairs if file]
        if steps:
            namings.append(Naming(folder, suffix, channels, files, len(names), sum(steps) / len(steps)))
    return sorted(namings, key=_rank)


def _rank(naming: Naming) -> tuple[bool, float, float, int, int, str]:
    """Return the key by which namings are sorted, see `match_names`."""
    last = naming.is_beside_images or naming.share < MAJORITY
    return last, -naming.share, -naming.direct, naming.number, -_depth(naming.folder), naming.folder


def _depth(folder: str) -> int:
    """Return the level of a folder, 0 for the competition's own."""
    return 0 if folder == "." else 1 + folder.count("/")


def _likely_folders(known: Collection[str], stems: Collection[str], contents: Contents) -> list[str]:
    """Return the folders below which the most ids name exactly one file each, the deepest first; none if few ids do.

    Args:
        known, stems: see `_find_suffix`.
    """
    heads, tree = contents.heads, contents.tree
    if sum(name in heads or without_ending(name) in heads for name in known) < MAJORITY * len(known):
        return []
    names = [compose(name) for files in contents.images.values() for name in files]
    suffix, channels = _find_suffix(known, stems, names)
    if suffix is None:
        return []
    suffix = suffix.replace("*", next(iter(channels), ""))
    counts: Counter[str] = Counter()
    # Ids with a single file are counted by its folder first, and only then by the folders above: there are few folders
    # and many ids.
    single: Counter[str] = Counter()
    for name in known:
        inners = [inner for file in tree.below().find(name, suffix) for inner in tree.places(file)]
        if len(inners) == 1:
            single.update(inners)
            continue
        above = Counter(folder for inner in inners for folder in _with_parents(inner))
        counts.update(folder for folder, number in above.items() if number == 1)
    for inner, number in single.items():
        counts.update(dict.fromkeys(_with_parents(inner), number))
    most = max(counts.values(), default=0)
    likely = [folder for folder, count in counts.items() if count == most]
    return sorted(likely, key=lambda folder: (-_depth(folder), folder))[:MAX_FOLDERS]


def _with_parents(folder: str) -> list[str]:
    """Return a folder and all folders above it, down from the competition's own."""
    steps = folder.split("/")
    return [".", *("/".join(steps[:depth]) for depth in range(1, len(steps) + 1))]


def label_folders(contents: Contents) -> list[str]:
    """Return the folders with at least two folders of images that may be labels, not called after parts of the data."""
    parents: Counter[str] = Counter()
    for folder in contents.images:
        parent, _, name = folder.rpartition("/")
        if folder != "." and not is_part(name):
            parents[parent or "."] += 1
    return sorted(folder for folder, count in parents.items() if count >= 2)


def find_files(ids: pd.Series, names: Sequence[str], suffix: str, channels: tuple[str, ...]) -> np.ndarray:
    """Return the file that each id means, str (N,), "" for none or several.

    It is the search that `prepare` uses: whatever is counted here is found there.
    """
    search = Search(NamedTree(names), suffix, channels)
    files_of_ids = search.find_all(ids.tolist()).files
    return np.array([files[0] if len(files) == 1 else "" for files in files_of_ids], np.str_)


def _find_suffix(
    ids: Collection[str], stems: Collection[str], names: Sequence[str]
) -> tuple[str | None, tuple[str, ...]]:
    """Return the suffix of most ids in these names, and the channels if it varies; None if no name starts with an id.

    Args:
        ids: ids in composed Unicode form, as are `names`.
        stems: the ids without extensions of image files.
    """
    counts: Counter[str] = Counter()
    for name in names:
        if name in ids:
            counts[""] += 1
        counts.update(name[at:] for at in sign_places(name) if name[:at] in ids)
    if not counts:
        return ("" if any(without_ending(name) in stems for name in names) else None), ()
    named = {suffix: count for suffix, count in counts.items() if count >= MAJORITY * len(ids)}
    likely = {suffix: count for suffix, count in named.items() if not is_beside_images(suffix)} or counts
    best, most = max(likely.items(), key=lambda item: (item[1], -len(item[0])))
    stem, dot, ending = best.rpartition(".")
    alike = {
        suffix[len(stem[:1]) : -len(dot + ending)]
        for suffix, count in counts.items()
        if suffix.endswith(dot + ending) and suffix[:1] == stem[:1] and count >= 0.9 * most
    }
    if not stem or len(alike) < 2 or "" in alike:
        return best, ()
    order = sorted(alike, key=lambda name: (COLOURS.index(name) if name in COLOURS else len(COLOURS), name))
    return f"{stem[:1]}*{dot}{ending}", tuple(order)
