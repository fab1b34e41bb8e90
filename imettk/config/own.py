"""A user's own code: what `module:name`, or `recipe:name` for the recipe's own file, refers to.

A process runs a recipe's file once and finds it again by its SHA-256. Other processes, such as loader workers, run it
again when they need something from it.
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

LIBRARIES = ("timm", "pretrainedmodels", "hf-hub")  # a colon follows these too, and they are no user's modules
RECIPE = "recipe"


class Source(NamedTuple):
    """A recipe's file that this process has run.

    Attributes:
        path: "" if it is not known.
        names: the file's globals.
    """

    path: str
    names: Mapping[str, Any]


# By SHA-256. The key of the file that is running now is "": its `recipe()` makes a Recipe that names the file's own
# functions, and `source_sha256` is only filled in afterwards.
_SOURCES: dict[str, Source] = {}
_FILES: set[str] = set()  # users' files that something was taken from


def is_own(name: str) -> bool:
    """Return whether a name refers to a user's own code, as `module:name`, and not to a row or a library."""
    library, colon, rest = name.partition(":")
    return bool(colon and library and rest) and library not in LIBRARIES


def register_source(sha256: str, names: Mapping[str, Any], path: str = "") -> None:
    """Let `recipe:name` refer to these globals of a recipe's file; "" is the hash of the file that is running."""
    _SOURCES[sha256] = Source(path, names)


def find_source(sha256: str) -> Source | None:
    """Return the recipe's file with this hash if this process has run it."""
    return _SOURCES.get(sha256)


@contextmanager
def running(path: Path, *, only: str | None = None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Run a recipe's file and yield its SHA-256 and globals.

    Inside the block any recipe can name what the file defines; afterwards, only recipes with the file's hash can.

    Args:
        only: the SHA-256 that the file must have; None runs any file.

    Raises:
        ConfigError: the file has another hash.
    """
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if only not in (None, sha256):
        raise ConfigError(f"{path} has changed since it was used: give it as RECIPE, with a new --run-dir")
    module = types.ModuleType(f"imettk_recipe_{sha256[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look a class's module up there
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations 2.0.8 calls home when imported
    _FILES.add(str(path))
    before = _SOURCES.get("")  # a recipe's file may load another recipe's file
    register_source("", module.__dict__)
    try:
        # dont_inherit: the `annotations` future of this module must not change how the user's file is compiled.
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
        register_source(sha256, module.__dict__, str(path.absolute()))
        yield sha256, module.__dict__
    finally:
        del _SOURCES[""]
        if before is not None:
            _SOURCES[""] = before


def find_own(name: str, sha256: str) -> Any | None:
    """Return the object that a name refers to; None for `recipe:name` if this process has not run that file.

    Args:
        sha256: hash of the recipe's file, as in `Recipe.source_sha256`.

    Raises:
        ConfigError: there is no such module, or it does not define the name.
    """
    module, _, rest = name.partition(":")
    if module == RECIPE:
        source = _SOURCES.get(sha256)
        if source is None:
            return None
        if rest not in source.names:
            raise ConfigError(f"{name}: the recipe's file does not define {rest}: define it there, above recipe()")
        return source.names[rest]
    imported = _import(name, module, rest)
    if not hasattr(imported, rest):
        raise ConfigError(f"{name}: the module {module} does not define {rest}")
    return getattr(imported, rest)


def _import(name: str, module: str, rest: str) -> types.ModuleType:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{name}: {error}; its folder must be on PYTHONPATH, or define {rest} in the recipe's file and name it "
            f"recipe:{rest}"
        ) from None
    except Exception as error:
        raise ConfigError(f"{name}: {describe(error) or f'{type(error).__name__}: {error}'}") from None
    if file := getattr(imported, "__file__", None):
        _FILES.add(file)
    return imported


def load_own(name: str, sha256: str) -> Any:
    """Return the object as `find_own` does, but raise `ConfigError` if the recipe's file has not been run."""
    loaded = find_own(name, sha256)
    if loaded is None:
        raise ConfigError(f"{name} is defined in the recipe's own file: give that .py file as RECIPE")
    return loaded


@dataclass(frozen=True)
class Own:
    """A reference to a user's own code that can be pickled: another process runs the recipe's file again.

    Attributes:
        sha256: hash of the recipe's file.
        path: of the recipe's file; "" if it is not known.
    """

    name: str
    sha256: str
    path: str = ""

    def load(self) -> Any:
        """Return the object that this refers to; raise `ConfigError` if the recipe's file has changed."""
        if self.name.startswith(f"{RECIPE}:") and self.path and self.sha256 not in _SOURCES:
            with running(Path(self.path), only=self.sha256):
                pass
        return load_own(self.name, self.sha256)

    def code(self) -> str:
        """Return the SHA-256 of the file that defines it; "" without such a file."""
        if self.name.startswith(f"{RECIPE}:"):
            return self.sha256
        file = file_of(self.name, self.sha256)
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def refer(name: str, sha256: str) -> Own:
    """Return a reference to a user's own code; raise `ConfigError` as `load_own` does."""
    load_own(name, sha256)
    source = _SOURCES.get(sha256)
    return Own(name, sha256, "" if source is None else source.path)


def file_of(name: str, sha256: str) -> str:
    """Return the path of the file that defines a user's own code; "" if it is not known."""
    module = name.partition(":")[0]
    if module == RECIPE:
        return "" if (source := _SOURCES.get(sha256)) is None else source.path
    return getattr(sys.modules.get(module), "__file__", None) or ""


def describe(error: BaseException, *, files: set[str] | None = None) -> str | None:
    """Return an error in a user's own code as one line with its file and line; None for an error elsewhere.

    Args:
        files: the user's files; None stands for all files that something was taken from.
    """
    files = _FILES if files is None else files
    if isinstance(error, SyntaxError) and error.filename in files:
        place: tuple[str, int | None] | None = (error.filename, error.lineno)  # no frame of the file: it never ran
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
        place = (frames[-1].filename, frames[-1].lineno) if frames else None
    if place is None:
        return None
    kind = [] if isinstance(error, UserError) else [type(error).__name__]
    return f"{place[0]}, line {place[1]}: {': '.join(filter(None, [*kind, ' '.join(str(error).split())]))}"
