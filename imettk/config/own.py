"""A user's own: what `module:name`, or `recipe:name` for the recipe's own file, refers to.

A recipe's file is run once in a process, under a name of its own, and found again by its SHA-256; other processes run
it again where they need something of it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import traceback
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from imettk.errors import ConfigError, UserError

LIBRARIES = ("timm", "pretrainedmodels", "hf-hub")  # which a colon follows too
RECIPE = "recipe"


class Source(NamedTuple):
    """A recipe's file that has been run.

    Attributes:
        path: "" where nobody knows it.
        names: what it holds, by name.
    """

    path: str
    names: Mapping[str, Any]


_SOURCES: dict[str, Source] = {}  # by SHA-256; of the file that is being run it is ""
_FILES: set[str] = set()  # of users, from which something was taken


def is_own(name: str) -> bool:
    """Return whether this is a user's own and no built-in name."""
    library, colon, rest = name.partition(":")
    return bool(colon and library and rest) and library not in LIBRARIES


def register_source(sha256: str, names: Mapping[str, Any], path: str = "") -> None:
    """Let `recipe:name` be found in what a recipe file holds; of the file that is being run the hash is ""."""
    _SOURCES[sha256] = Source(path, names)


def find_source(sha256: str) -> Source | None:
    """Return the recipe file with this hash, if this process has run it."""
    return _SOURCES.get(sha256)


@contextmanager
def running(path: Path, *, only: str | None = None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Run a recipe's file; gives its SHA-256 and what it holds, which recipes can name until the block ends.

    Afterwards only those can that carry the hash.

    Args:
        only: the SHA-256 that it must have to be run; None runs any.

    Raises:
        ConfigError: it has another one.
    """
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if only not in (None, sha256):
        raise ConfigError(f"{path} has changed since it was used: give it as RECIPE, with a new --run-dir")
    module = types.ModuleType(f"imettk_recipe_{sha256[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look there
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations 2.0.8 calls home when imported
    _FILES.add(str(path))
    before = _SOURCES.get("")
    register_source("", module.__dict__)
    try:
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
        register_source(sha256, module.__dict__, str(path.absolute()))
        yield sha256, module.__dict__
    finally:
        del _SOURCES[""]
        if before is not None:
            _SOURCES[""] = before


def find_own(name: str, sha256: str) -> Any | None:
    """Return what the name refers to; None for `recipe:name` of a file that this process has not run.

    Args:
        sha256: of the recipe's file, `Recipe.source_sha256`.

    Raises:
        ConfigError: there is no such module, or nothing of that name in it.
    """
    module, _, rest = name.partition(":")
    if module == RECIPE:
        source = _SOURCES.get(sha256)
        if source is None:
            return None
        if rest not in source.names:
            raise ConfigError(f"{name}: the recipe's file holds no {rest}: write it there, above recipe()")
        return source.names[rest]
    found = _import(name, module, rest)
    if not hasattr(found, rest):
        raise ConfigError(f"{name}: the module {module} holds no {rest}")
    return getattr(found, rest)


def _import(name: str, module: str, rest: str) -> types.ModuleType:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{name}: {error}; its folder must be on PYTHONPATH, or write it in the recipe's file as recipe:{rest}"
        ) from None
    except Exception as error:
        raise ConfigError(f"{name}: {describe(error) or f'{type(error).__name__}: {error}'}") from None
    if file := getattr(found, "__file__", None):
        _FILES.add(file)
    return found


def load_own(name: str, sha256: str) -> Any:
    """Return the same where it is needed to go on; `ConfigError` says which file must be given."""
    found = find_own(name, sha256)
    if found is None:
        raise ConfigError(f"{name} stands in the recipe's own file: give that .py file as RECIPE")
    return found


@dataclass(frozen=True)
class Own:
    """A user's own by its name, which can be sent to another process: that one runs the recipe's file again.

    Attributes:
        sha256: of the recipe's file.
        path: where that lies; "" where it is not needed.
    """

    name: str
    sha256: str
    path: str = ""

    def load(self) -> Any:
        """Return what it refers to; `ConfigError` where the recipe's file has changed."""
        if self.name.startswith(f"{RECIPE}:") and self.path and self.sha256 not in _SOURCES:
            with running(Path(self.path), only=self.sha256):
                pass
        return load_own(self.name, self.sha256)

    def code(self) -> str:
        """Return the SHA-256 of the file that it stands in; "" where it stands in none."""
        if self.name.startswith(f"{RECIPE}:"):
            return self.sha256
        file = file_of(self.name, self.sha256)
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def refer(name: str, sha256: str) -> Own:
    """Return a reference to a user's own; `ConfigError` as in `load_own`."""
    load_own(name, sha256)
    source = _SOURCES.get(sha256)
    return Own(name, sha256, "" if source is None else source.path)


def file_of(name: str, sha256: str) -> str:
    """Return the path of the file that a user's own stands in; "" where that is not known."""
    module = name.partition(":")[0]
    if module == RECIPE:
        return "" if (source := _SOURCES.get(sha256)) is None else source.path
    return getattr(sys.modules.get(module), "__file__", None) or ""


def describe(error: BaseException, *, files: set[str] | None = None) -> str | None:
    """Return what went wrong in a user's own code, as one line with its file and line; None where nothing did.

    Args:
        files: the user's; None takes all from which something was taken.
    """
    files = _FILES if files is None else files
    if isinstance(error, SyntaxError) and error.filename in files:
        place: tuple[str, int | None] | None = (error.filename, error.lineno)
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
        place = (frames[-1].filename, frames[-1].lineno) if frames else None
    if place is None:
        return None
    kind = [] if isinstance(error, UserError) else [type(error).__name__]
    return f"{place[0]}, line {place[1]}: {': '.join(filter(None, [*kind, ' '.join(str(error).split())]))}"
