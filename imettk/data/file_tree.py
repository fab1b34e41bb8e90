"""The files below a folder, indexed by name: a process lists each folder once, and again only if it has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from imettk.data.image_files import FileIndex

MOST_TREES = 8  # trees that a process keeps
SETTLED_NS = 2_000_000_000  # age from which a folder's mtime is trusted: FAT counts in steps of 2 seconds


class _Listing(NamedTuple):
    """Contents of one folder.

    Attributes:
        files: everything except folders; those in `links` may be folders, which only following them tells.
        changed: modification time in ns; 0 if a later change might not alter it.
        identity: device and inode, by which links that lead in circles are recognised.
    """

    files: frozenset[str]
    folders: tuple[str, ...]
    links: tuple[str, ...]
    changed: int
    identity: tuple[int, int]


_NOTHING = _Listing(frozenset(), (), (), 0, (0, 0))


class FileTree:
    """A folder and everything below it except hidden folders; each folder is listed when it is first needed.

    A command needs the listing several times (for each table, for messages, for spare images), and on a mounted file
    system listing many files is slow. So listings are kept for the life of the process; one `stat` per folder decides
    whether they still hold.

    Attributes:
        unread: one line for each folder below that cannot be read.
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
        """Check the modification times again before any listing is used."""
        self._looked_at.clear()
        self._walked = None
        self.unread.clear()

    def index(self, inner: str = "") -> FileIndex:
        """Return the index of the files in a folder below this one; empty if there is none."""
        listing = self._list(inner)
        if (index := self._indices.get(inner)) is None:
            index = self._indices[inner] = FileIndex(listing.files)
        return index

    def files(self, inner: str = "") -> frozenset[str]:
        """Return the names of the files in a folder below this one."""
        return self._list(inner).files

    def folders(self) -> tuple[str, ...]:
        """Return the names of the folders in this one, without links."""
        return self._list("").folders

    def below(self) -> FileIndex:
        """Return the index of all files below, by name."""
        return self._names_below().index

    def places(self, name: str) -> list[str]:
        """Return the folders below that hold a file of this name."""
        return self._names_below().places(name)

    def paths_below(self) -> Iterator[str]:
        """Yield the paths of all files in folders below."""
        for inner, listing in self._walk().items():
            yield from (f"{inner}/{name}" for name in listing.files)

    def _names_below(self) -> _Below:
        listings = self._walk()
        if self._below is None:
            self._below = _Below(listings)
        return self._below

    def _walk(self) -> dict[str, _Listing]:
        """Return the listings of all folders below, each folder once."""
        if self._walked is not None:
            return self._walked
        listings: dict[str, _Listing] = {}
        top = self._list("")
        seen, with_links, todo = {top.identity}, [""], list(top.folders)
        while todo or with_links:
            if not todo:  # links last: a folder that is reached both ways keeps its real path
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
        if self._below is not None and not self._below.is_of(self._walked):  # any listing was replaced
            self._below = None
        return self._walked

    def _linked(self, inners: Iterable[str]) -> list[str]:
        """Return the folders that links in these folders lead to."""
        ways = [f"{inner}/{name}" if inner else name for inner in inners for name in self._list(inner).links]
        return sorted((way for way in ways if os.path.isdir(f"{self._folder}/{way}")), reverse=True)

    def _list(self, inner: str) -> _Listing:
        """Return the current contents of a folder."""
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
    """A tree of files that were listed elsewhere.

    Args:
        paths: paths of the files from its top, with `/`.
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
    """Index from file names to folders; most names occur once, so lists are kept only for the others."""

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
        """Return whether it was built from exactly these listings."""
        known = self._listings
        return known.keys() == listings.keys() and all(known[inner] is listing for inner, listing in listings.items())

    def places(self, name: str) -> list[str]:
        """Return the folders that hold a file of this name."""
        return [self._first[name], *self._more.get(name, ())] if name in self._first else []


def open_tree(folder: Path) -> FileTree:
    """Return the tree of a folder, with every listing that still holds."""
    tree = _keep(os.path.abspath(folder))
    tree.look_again()
    return tree


@lru_cache(MOST_TREES)
def _keep(folder: str) -> FileTree:
    return FileTree(folder)


def _scan(path: str) -> _Listing:
    """List a folder from its directory entries alone: a `stat` per file would take many times as long."""
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
    # A folder that has just changed may change again within the same tick of the clock: it is listed again next time.
    changed = status.st_mtime_ns if settled else 0
    return _Listing(frozenset(files), shown, tuple(links), changed, (status.st_dev, status.st_ino))
