"""The files below a folder, found by their names: each folder is listed once a process, and again where it changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from imettk.data.image_files import FileIndex

MOST_TREES = 8  # folders whose listings are kept
SETTLED_NS = 2_000_000_000  # after which a folder's time of change tells of every change: FAT counts by 2 seconds


class _Listing(NamedTuple):
    """What lies in one folder.

    Attributes:
        files: everything but folders; `links` may be either, which only a look at where they lead tells.
        changed: the folder's time of change, ns; 0 where a change could be missed.
        identity: of the folder, so that no link leads in circles.
    """

    files: frozenset[str]
    folders: tuple[str, ...]
    links: tuple[str, ...]
    changed: int
    identity: tuple[int, int]


_NOTHING = _Listing(frozenset(), (), (), 0, (0, 0))


class FileTree:
    """A folder and all below it, without what is hidden. Folders are listed when they are asked for.

    Attributes:
        unread: folders below it that cannot be read, and why, one line each.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._listings: dict[str, _Listing] = {}
        self._indices: dict[str, FileIndex] = {}
        self._looked_at: set[str] = set()
        self._below: _Below | None = None
        self._walked: dict[str, _Listing] | None = None
        self.unread: list[str] = []

    def look_again(self) -> None:
        """Look at each folder's time of change once more, as nothing may be as it was."""
        self._looked_at.clear()
        self._walked = None
        self.unread.clear()

    def index(self, inner: str = "") -> FileIndex:
        """Return the files in a folder below this one, empty where there is none."""
        listing = self._list(inner)
        if (index := self._indices.get(inner)) is None:
            index = self._indices[inner] = FileIndex(listing.files)
        return index

    def files(self, inner: str = "") -> frozenset[str]:
        """Return the names of files in a folder below this one."""
        return self._list(inner).files

    def folders(self) -> tuple[str, ...]:
        """Return the names of folders in this one that are no links."""
        return self._list("").folders

    def below(self) -> FileIndex:
        """Return the names of files in the folders below."""
        return self._names_below().index

    def places(self, name: str) -> list[str]:
        """Return the folders below in which a file of this very name lies."""
        return self._names_below().places(name)

    def paths_below(self) -> Iterator[str]:
        """Yield the files in the folders below, by their names from here."""
        for inner, listing in self._walk().items():
            yield from (f"{inner}/{name}" for name in listing.files)

    def _names_below(self) -> _Below:
        listings = self._walk()
        if self._below is None:
            self._below = _Below(listings)
        return self._below

    def _walk(self) -> dict[str, _Listing]:
        """Return the listings of all folders below, each once; links are followed last."""
        if self._walked is not None:
            return self._walked
        listings: dict[str, _Listing] = {}
        top = self._list("")
        seen, with_links, todo = {top.identity}, [""], list(top.folders)
        while todo or with_links:
            if not todo:
                todo, with_links = self._linked(with_links), []
                continue
            inner = todo.pop()
            listing = self._list(inner)
            if listing is _NOTHING or listing.identity in seen:
                continue
            seen.add(listing.identity)
            listings[inner] = listing
            todo += [f"{inner}/{name}" for name in listing.folders]
            with_links += [inner] if listing.links else []
        self._walked = dict(sorted(listings.items()))
        if self._below is not None and not self._below.is_of(self._walked):
            self._below = None
        return self._walked

    def _linked(self, inners: Iterable[str]) -> list[str]:
        """Return the folders to which links in these folders lead."""
        ways = [f"{inner}/{name}" if inner else name for inner in inners for name in self._list(inner).links]
        return sorted((way for way in ways if os.path.isdir(f"{self._folder}/{way}")), reverse=True)

    def _list(self, inner: str) -> _Listing:
        """Return what lies in a folder, as it is now."""
        if inner in self._looked_at:
            return self._listings[inner]
        self._looked_at.add(inner)
        path = f"{self._folder}/{inner}" if inner else self._folder
        known = self._listings.get(inner)
        try:
            if known is None or known.changed != os.stat(path).st_mtime_ns:
                self._listings[inner] = _scan(path)
                self._indices.pop(inner, None)
        except OSError as error:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                self.unread.append(f"{inner} cannot be read: {error.strerror}")
            self._listings[inner] = _NOTHING
            self._indices.pop(inner, None)
        return self._listings[inner]


class NamedTree(FileTree):
    """A tree of files that were listed before.

    Args:
        paths: of files from its top, with `/`.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        super().__init__("")
        names: dict[str, list[str]] = {}
        for path in paths:
            inner, _, name = path.rpartition("/")
            names.setdefault(inner, []).append(name)
        self._listings = {inner: _NOTHING._replace(files=frozenset(files)) for inner, files in names.items()}
        self._walked = {inner: listing for inner, listing in sorted(self._listings.items()) if inner}

    def _list(self, inner: str) -> _Listing:
        return self._listings.get(inner, _NOTHING)


class _Below:
    """In which folders names lie: of most there is one."""

    def __init__(self, listings: dict[str, _Listing]) -> None:
        self._listings = listings
        self._first: dict[str, str] = {}
        self._more: dict[str, list[str]] = {}
        for inner, listing in listings.items():
            for name in listing.files:
                if self._first.setdefault(name, inner) != inner:
                    self._more.setdefault(name, []).append(inner)
        self.index = FileIndex(self._first)

    def is_of(self, listings: dict[str, _Listing]) -> bool:
        """Return whether these are the listings that it was made of."""
        known = self._listings
        return known.keys() == listings.keys() and all(known[inner] is listing for inner, listing in listings.items())

    def places(self, name: str) -> list[str]:
        """Return the folders of a file's name."""
        return [self._first[name], *self._more.get(name, ())] if name in self._first else []


def open_tree(folder: Path) -> FileTree:
    """Return the tree of a folder, with the listings that still hold."""
    tree = _keep(os.path.abspath(folder))
    tree.look_again()
    return tree


@lru_cache(MOST_TREES)
def _keep(folder: str) -> FileTree:
    return FileTree(folder)


def _scan(path: str) -> _Listing:
    """List a folder by what its entries say of themselves, without a look at any file."""
    status = os.stat(path)
    settled = time.time_ns() - status.st_mtime_ns > SETTLED_NS
    files, folders, links = [], [], []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
                continue
            files.append(entry.name)
            if entry.is_symlink():
                links.append(entry.name)
    shown = tuple(name for name in folders if name[0] != ".")
    changed = status.st_mtime_ns if settled else 0
    return _Listing(frozenset(files), shown, tuple(links), changed, (status.st_dev, status.st_ino))
