"""Kinds of files in a competition's folder: one row a kind, by the endings of its files, and what reading it takes.

A row refers to its reader as "module:name", so that nothing is imported before a file of its kind is read.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from types import ModuleType
from typing import TypeVar

from imettk.config.choices import Choice
from imettk.errors import DataError


@dataclass(frozen=True, kw_only=True)
class FileKind(Choice):
    """A kind of files; `make` reads one of them.

    Attributes:
        endings: of such files' names, in small letters, each with its point.
        needs: the module that reading takes and imettk does not install.
        extra: of setup.py, which installs that module.
    """

    endings: tuple[str, ...]
    needs: str | None = None
    extra: str | None = None

    def require(self, path: str | PathLike[str]) -> None:
        """Raise `DataError` where reading this file takes a module that is not installed."""
        if self.needs is not None:
            import_extra(self.needs, str(self.extra), path)


Kind = TypeVar("Kind", bound=FileKind)


def import_extra(module: str, extra: str, path: str | PathLike[str]) -> ModuleType:
    """Return a module that an extra of setup.py installs.

    Args:
        path: the file that is to be read with it.

    Raises:
        DataError: it is not installed; the message names the file and the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or module).partition(".")[0]
        raise DataError(f"{path}: to read it, {missing} must be installed: `pip install 'imettk[{extra}]'`") from None


def kind_of(name: str, kinds: Mapping[str, Kind]) -> Kind | None:
    """Return the kind of a file by its name, the longest ending first; None where it is of none of these kinds."""
    small = name.lower()
    fits = [(len(ending), kind) for kind in kinds.values() for ending in kind.endings if small.endswith(ending)]
    return max(fits, key=lambda fit: fit[0])[1] if fits else None


# (path, remarks) -> the table, every cell as text.
TABLE_READERS: dict[str, FileKind] = {
    "csv": FileKind(make="imettk.data.csv_files:read_csv", endings=(".csv", ".tsv")),
}
TABLE_ENDINGS = tuple(ending for kind in TABLE_READERS.values() for ending in kind.endings)
