"""How a table's ids become names of files: in which folder, and with what behind them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from imettk.data.image_files import ENDING_SIGNS, FileIndex, compose, find_channels, without_ending
from imettk.starter.look import Contents

COLOURS = ("red", "green", "blue")  # the order in which they come first among channels


class Naming(NamedTuple):
    """How a table's ids become names of files.

    Attributes:
        folder: where these lie.
        suffix: behind most ids, with a `*` for the channel where an image is several files.
        channels: what stands for it.
        files: of each id, by its name from the folder, str (N,), with a `*` as in `suffix`; "" where it has none.
    """

    folder: str
    suffix: str
    channels: tuple[str, ...]
    files: np.ndarray

    @property
    def found(self) -> np.ndarray:
        """Which ids have an image, bool (N,)."""
        return self.files != ""

    @property
    def share(self) -> float:
        """The share of ids that have an image."""
        return float(self.found.mean()) if len(self.files) else 0.0

    def is_same(self, folder: str, files: np.ndarray) -> bool:
        """Return whether these are the images, where both have one."""
        both = self.found & (files != "")
        pairs = zip(files[both].tolist(), self.files[both].tolist(), strict=True)
        return all(
            os.path.normpath(f"{folder}/{one}") == os.path.normpath(f"{self.folder}/{two}") for one, two in pairs
        )


def match_names(ids: pd.Series, contents: Contents) -> list[Naming]:
    """Return every folder in which files are named by these ids, the one for most of them first; of equal ones the one
    that holds fewer other files."""
    known = {compose(name) for name in ids}
    stems = {without_ending(name) for name in known}
    nested = any("/" in name for name in known)
    namings = []
    for folder in contents.folders():
        names = contents.below(folder) if nested else contents.images.get(folder, [])
        suffix, channels = _find_suffix(known, stems, [compose(name) for name in names])
        if suffix is None:
            continue
        naming = Naming(folder, suffix, channels, find_files(ids, names, suffix, channels))
        if naming.found.any():
            namings.append((naming, len(names)))
    namings.sort(key=lambda pair: (-pair[0].share, pair[1], pair[0].folder))
    return [naming for naming, _ in namings]


def find_files(ids: pd.Series, names: Sequence[str], suffix: str, channels: tuple[str, ...]) -> np.ndarray:
    """Return which of these files each id means, str (N,), "" where none or several; as `prepare` finds them."""
    if channels:
        known = set(names)
        return np.array([find_channels(name, suffix, channels, known.__contains__) for name in ids], np.str_)
    index = FileIndex(names)
    found = [index.find(name, suffix) for name in ids]
    return np.array([files[0] if len(files) == 1 else "" for files in found], np.str_)


def _find_suffix(
    ids: Collection[str], stems: Collection[str], names: Sequence[str]
) -> tuple[str | None, tuple[str, ...]]:
    """What most ids have behind them in these names, and the channels where it is several things; None where no name
    begins with an id.

    Args:
        ids: in composed form, as are names.
        stems: the ids without endings of image files.
    """
    counts: Counter[str] = Counter()
    for name in names:
        if name in ids:
            counts[""] += 1
        for at, letter in enumerate(name):
            if letter in ENDING_SIGNS and name[:at] in ids:
                counts[name[at:]] += 1
    if not counts:
        return ("" if any(without_ending(name) in stems for name in names) else None), ()
    best, most = max(counts.items(), key=lambda item: (item[1], -len(item[0])))
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
