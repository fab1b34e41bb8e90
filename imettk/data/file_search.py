"""The files that names mean: in their folder, in those below it, and by the end of a path of another machine."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from imettk.data.file_tree import FileTree
from imettk.data.image_files import find_channels, forms_of, without_ending

HERE, BELOW, BY_END, WHOLE = range(4)  # how an image was found
_STEPS = re.compile(r"[/\\]+")
_ROOTED = re.compile(r"(\.\.)?[/\\]|[A-Za-z]:")  # with which a path begins whose folders are not from here
_POINT = re.compile(r"(?<![^/])(\d+)\.0(?![^/])")  # of a number that a step of a path is


class Search:
    """Finds the files that names mean, each by its name from the folder; an image of several files with its `*`.

    Args:
        tree: of the folder.
        suffix: behind each name, with a `*` for the channel where there are `channels`.
        data: the tree of the data folder, where that is another; paths may end with what is there as well.
        way: from there to the folder, and `back` the reverse.
    """

    def __init__(
        self,
        tree: FileTree,
        suffix: str,
        channels: Sequence[str] = (),
        *,
        data: FileTree | None = None,
        way: str = "",
        back: str = "",
    ) -> None:
        self._suffix, self._channels, self._way, self._back = suffix, channels, way, back
        self.tree = tree
        self._roots = [tree] if data is None else [tree, data]
        self._known_ends: dict[tuple[str, ...], list[list[_End]]] = {}

    def find_all(self, names: Sequence[str], leaving: Collection[str] = ()) -> _Found:
        """Return the files that each name means.

        Args:
            leaving: names that are paths out of the folder.
        """
        files, ways = list[list[str]](), np.full(len(names), HERE)
        for row, name in enumerate(names):
            leaves = name in leaving
            if not (found := [] if leaves else self.here(name)):
                found, ways[row] = self.elsewhere(name, leaves=leaves)
            files.append(found)
        passed = {row: files[row][0] for row in self._not_meant(names, files, ways)}
        for row in passed:
            files[row], ways[row] = [], HERE
        return _Found(files, ways, passed)

    def _not_meant(self, names: Sequence[str], files: Sequence[Sequence[str]], ways: np.ndarray) -> Iterator[int]:
        """Yield the rows whose files, such as masks, are no images as the others are: below the folder in which most
        lie, beside files of the same names as those; or with an ending that most of the others have beside their own.
        """
        number = sum(map(bool, files))
        here = [row for row in np.flatnonzero(ways == HERE).tolist() if files[row]]
        exact = [files[row][0] for row in here if files[row] == [names[row] + self._suffix]]
        others = {row: os.path.splitext(files[row][0])[1] for row in here if files[row] != [names[row] + self._suffix]}
        doubled = {
            ending for ending in {*others.values()} if 2 * sum(self._has(file, ending) for file in exact) > len(exact)
        }
        if 2 * len(here) > number:
            stems = {without_ending(files[row][0].rpartition("/")[2]) for row in here}
            below = [(row, files[row][0].rpartition("/")[0]) for row in np.flatnonzero(ways == BELOW).tolist()]
            copies = {inner for inner in {inner for _, inner in below} if self._holds(inner, stems)}
            yield from (row for row, inner in below if inner in copies)
        if not self._channels:
            yield from (row for row, ending in others.items() if ending in doubled and len(files[row]) == 1)

    def _holds(self, inner: str, stems: Collection[str]) -> bool:
        """Return whether a folder holds a file of one of these names."""
        return any(without_ending(name) in stems for name in self.tree.files(inner))

    def _has(self, file: str, ending: str) -> bool:
        """Return whether a file stands there with another ending too."""
        way, _, base = file.rpartition("/")
        other = without_ending(base) + ending
        return other != base and other in self.tree.files(way)

    def here(self, name: str) -> list[str]:
        """Return the files that a name means in the folder, or in the one within that the name itself says."""
        way, _, base = name.rpartition("/")
        found = self._match(self.tree, way, base) if self._channels else self.tree.index(way).find(base, self._suffix)
        return [f"{way}/{file}" for file in found] if way else found

    def elsewhere(self, name: str, *, leaves: bool) -> tuple[list[str], int]:
        """Return the files that a name means which is not here, and how.

        Args:
            leaves: the name is a path that leads out of the folder, so that only its end can be meant.
        """
        if not leaves and (found := self._below(name)):
            return found, BELOW
        if found := self._by_end(name):
            return found, BY_END
        whole = _POINT.sub(r"\1", name)
        if not leaves and whole != name and (found := self.here(whole) or self._below(whole)):
            return found, WHOLE
        folders = [] if self._channels else self.tree.folders()  # which a reader of one's own may read
        return ([name + self._suffix] if name + self._suffix in folders else []), HERE

    def _match(self, tree: FileTree, inner: str, base: str) -> list[str]:
        if not self._channels:
            return tree.index(inner).find(base, self._suffix)
        found = find_channels(base, self._suffix, self._channels, tree.files(inner).__contains__)
        return [found] if found else []

    def _below(self, name: str) -> list[str]:
        """Return the files below that are called so, or whose path ends so."""
        way, _, base = name.rpartition("/")
        if self._channels:
            first = self._suffix.replace("*", self._channels[0])
            inners = [inner for form in forms_of(base) for inner in self.tree.places(form + first)]
            pairs = [(inner, file) for inner in inners for file in self._match(self.tree, inner, base)]
        else:
            names = self.tree.below().find(base, self._suffix)
            pairs = [(inner, file) for file in names for inner in self.tree.places(file)]
        return [f"{inner}/{file}" for inner, file in pairs if not way or f"/{inner}".endswith(f"/{way}")]

    def _by_end(self, name: str) -> list[str]:
        """Return the files by the longest end of a path that is there, from the folder or from that of the data."""
        *way, base = _STEPS.split(name)
        way = [step for step in way if step not in ("", ".")]
        if ".." in way:
            way = way[len(way) - way[::-1].index("..") :]
        if base in ("", name):
            return []
        rooted = _ROOTED.match(name) is not None
        for ends in self._ends_of(tuple(way)):
            found = [
                f"{end.prefix}{file}"
                for end in ends
                if end.steps > 0 or rooted or not way
                for file in self._match(end.tree, end.inner, base)
            ]
            if found:
                return found
        return []

    def _ends_of(self, way: tuple[str, ...]) -> list[list[_End]]:
        """Return the folders that are there of the ends of a way, the longest first; the last is that of images."""
        if way not in self._known_ends:
            self._known_ends[way] = ends = []
            for first in range(len(way) + 1):
                inner = "/".join(way[first:])
                trees = [tree for tree in (self._roots if inner else self._roots[:1]) if tree.files(inner)]
                ends.append([_End(tree, inner, self._prefix(tree, inner), len(way) - first) for tree in trees])
        return self._known_ends[way]

    def _prefix(self, tree: FileTree, inner: str) -> str:
        """Return the way from the folder of images."""
        if tree is self.tree:
            return f"{inner}/" if inner else ""
        inside = f"{inner}/".removeprefix(f"{self._way}/")
        return inside if len(inside) <= len(inner) else f"{self._back}/{inner}/"


class _Found(NamedTuple):
    """The files that names mean.

    Attributes:
        files: of each name.
        ways: how it was found, int (N,).
        passed: the file of a name by its row where that counts as missing all the same.
    """

    files: list[list[str]]
    ways: np.ndarray
    passed: dict[int, str]


class _End(NamedTuple):
    """A folder with files with whose name a path ends.

    Attributes:
        prefix: the way to it from the folder of images.
        steps: how many folders of the path it is.
    """

    tree: FileTree
    inner: str
    prefix: str
    steps: int
