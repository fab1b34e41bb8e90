"""Search for the files that names refer to: in their folder, below it, and by the end of another machine's path."""

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
_ROOTED = re.compile(r"(\.\.)?[/\\]|[A-Za-z]:")  # start of a path whose folders belong to another place
_POINT = re.compile(r"(?<![^/])(\d+)\.0(?![^/])")  # a step such as `12.0`: pandas made floats of ids


class Search:
    """Finds the files that names refer to, as paths from the folder; an image of several files keeps its `*`.

    Args:
        tree: tree of the folder.
        suffix: suffix of each name, with a `*` for the channel if there are `channels`.
        data: tree of the data folder if that is another one; the ends of paths are looked up there too.
        way: path from there to the folder; `back` is the reverse.
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

    def find_all(self, names: Sequence[str], leaving: Collection[str] = ()) -> _Matches:
        """Return the files that each name refers to.

        Args:
            leaving: names that are paths out of the folder.
        """
        files, ways = list[list[str]](), np.full(len(names), HERE)
        for row, name in enumerate(names):
            leaves = name in leaving
            if not (matches := [] if leaves else self.here(name)):
                matches, ways[row] = self.elsewhere(name, leaves=leaves)
            files.append(matches)
        companions = {row: files[row][0] for row in self._find_companions(names, files, ways)}
        for row in companions:
            files[row], ways[row] = [], HERE
        return _Matches(files, ways, companions)

    def _find_companions(self, names: Sequence[str], files: Sequence[Sequence[str]], ways: np.ndarray) -> Iterator[int]:
        """Yield the rows whose files look like masks and similar companions of images, not like images.

        They lie below the folder that holds most images and share their names, or have an ending that most of the other
        images have beside their own.
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
        """Return whether a folder holds a file with one of these stems."""
        return any(without_ending(name) in stems for name in self.tree.files(inner))

    def _has(self, file: str, ending: str) -> bool:
        """Return whether the same file exists with another ending too."""
        way, _, base = file.rpartition("/")
        other = without_ending(base) + ending
        return other != base and other in self.tree.files(way)

    def here(self, name: str) -> list[str]:
        """Return the files that a name refers to in the folder, or in the subfolder that the name contains."""
        way, _, base = name.rpartition("/")
        files = self._match(self.tree, way, base) if self._channels else self.tree.index(way).find(base, self._suffix)
        return [f"{way}/{file}" for file in files] if way else files

    def elsewhere(self, name: str, *, leaves: bool) -> tuple[list[str], int]:
        """Return the files of a name that `here` does not find, and how they were found.

        Args:
            leaves: the name is a path out of the folder, so that only its end can match.
        """
        if not leaves and (files := self._below(name)):
            return files, BELOW
        if files := self._by_end(name):
            return files, BY_END
        whole = _POINT.sub(r"\1", name)
        if not leaves and whole != name and (files := self.here(whole) or self._below(whole)):
            return files, WHOLE
        folders = [] if self._channels else self.tree.folders()  # a user's own reader may read folders
        return ([name + self._suffix] if name + self._suffix in folders else []), HERE

    def _match(self, tree: FileTree, inner: str, base: str) -> list[str]:
        if not self._channels:
            return tree.index(inner).find(base, self._suffix)
        file = find_channels(base, self._suffix, self._channels, tree.files(inner).__contains__)
        return [file] if file else []

    def _below(self, name: str) -> list[str]:
        """Return the files below the folder with this name, or whose path ends with it."""
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
        """Return the files by the longest end of the path that exists, from the images' folder or the data folder."""
        *way, base = _STEPS.split(name)
        way = [step for step in way if step not in ("", ".")]
        if ".." in way:  # steps before the last `..` lead somewhere else
            way = way[len(way) - way[::-1].index("..") :]
        if base in ("", name):
            return []
        rooted = _ROOTED.match(name) is not None
        for ends in self._ends_of(tuple(way)):
            files = [
                f"{end.prefix}{file}"
                for end in ends
                if end.steps > 0 or rooted or not way
                for file in self._match(end.tree, end.inner, base)
            ]
            if files:
                return files
        return []

    def _ends_of(self, way: tuple[str, ...]) -> list[list[_End]]:
        """Return the existing folders for each end of a path, longest first; the last is the images' folder itself."""
        if way not in self._known_ends:  # most paths of a table share a few folders
            self._known_ends[way] = ends = []
            for first in range(len(way) + 1):
                inner = "/".join(way[first:])
                trees = [tree for tree in (self._roots if inner else self._roots[:1]) if tree.files(inner)]
                ends.append([_End(tree, inner, self._prefix(tree, inner), len(way) - first) for tree in trees])
        return self._known_ends[way]

    def _prefix(self, tree: FileTree, inner: str) -> str:
        """Return the path from the images' folder to a folder of a tree."""
        if tree is self.tree:
            return f"{inner}/" if inner else ""
        inside = f"{inner}/".removeprefix(f"{self._way}/")
        return inside if len(inside) <= len(inner) else f"{self._back}/{inner}/"


class _Matches(NamedTuple):
    """The files that names refer to.

    Attributes:
        files: files of each name.
        ways: how each was found, int (N,).
        companions: files, by row, that were found but count as missing (see `_find_companions`).
    """

    files: list[list[str]]
    ways: np.ndarray
    companions: dict[int, str]


class _End(NamedTuple):
    """A folder with files that matches the end of a path.

    Attributes:
        prefix: path from the images' folder.
        steps: number of the path's folders that match.
    """

    tree: FileTree
    inner: str
    prefix: str
    steps: int
