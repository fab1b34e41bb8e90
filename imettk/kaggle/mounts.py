"""Inside a kernel: the places where the platform has mounted its sources, in the newer layout or the older one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imettk.errors import DataError, MismatchError, MissingFileError, UserError
from imettk.kaggle.outputs import OUTPUT, read_output_list
from imettk.tracking.files import read_json, sha256

WEIGHTS = "weights.json"  # names and hashes of pretrained weights, as written by `imettk weights`
INPUT = "input:"  # prefix of an argument: a dataset by its slug, wherever it is mounted
MODEL = "kaggle-model:"  # prefix of an argument: one of Kaggle's own models
MODEL_FILES = (".safetensors", ".pth", ".pt", ".bin")


class MissingOutputs(MismatchError):
    """Outputs that a kernel needs as inputs are not mounted.

    Attributes:
        pushes: the pushes that should have made them.
    """

    def __init__(self, message: str, pushes: Sequence[str]) -> None:
        super().__init__(message)
        self.pushes = tuple(pushes)


@dataclass(frozen=True)
class KaggleModel:
    """A variation of one of Kaggle's models, as `kaggle-model:OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION][/FILE]`.

    Attributes:
        version: a number; "" for the version that is mounted.
        file: a file in the variation's folder; "" for its only file of weights, or else the folder.
    """

    owner: str
    model: str
    framework: str
    variation: str
    version: str = ""
    file: str = ""

    @property
    def source(self) -> str:
        """The name by which a kernel attaches the model."""
        parts = (self.owner, self.model, self.framework, self.variation, self.version)
        return "/".join(filter(None, parts))


def read_model(text: str) -> KaggleModel:
    """Parse `kaggle-model:...`: a number after the variation is its version, the rest a file.

    Raises:
        UserError: the name is malformed.
    """
    parts = text.removeprefix(MODEL).split("/")
    names, rest = parts[:4], parts[4:]
    version = rest.pop(0) if rest and re.fullmatch("[0-9]+", rest[0]) else ""
    if (
        len(names) < 4
        or not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) for name in names)
        or any(name in ("", ".", "..") for name in rest)
    ):
        form = f"{MODEL}OWNER/MODEL/FRAMEWORK/VARIATION/VERSION"
        raise UserError(f"{text!r} names no Kaggle model: it is written {form}, with /FILE where that holds several")
    owner, model, framework, variation = names
    return KaggleModel(owner, model, framework, variation, version, "/".join(rest))


def split_word(word: str) -> tuple[str, str]:
    """Split a word of a command line into what precedes its value (`--model.weights=` or nothing), and the value."""
    flag, equals, value = word.partition("=")
    return (flag + equals, value) if word.startswith("--") and equals else ("", word)


def find_outputs(root: Path, after: Sequence[str]) -> list[Path]:
    """Return the folders with the outputs of these pushes, or of every kernel that is attached if none is named.

    The output of a session that was killed counts as well.

    Raises:
        MissingOutputs: an output is not attached, or the platform has mounted an older one in its place.
    """
    folders = [path.parent for path in mounted_files(root, "recipe.json")]
    if not after:
        return folders
    lists = {folder: read_output_list(folder) for folder in {path.parent for path in mounted_files(root, OUTPUT)}}
    by_push = {content["push"]: folder for folder, content in lists.items() if content is not None}
    missing = [push for push in after if push not in by_push]
    if missing:
        there = ", ".join(sorted(filter(None, by_push))) or "none"
        raise MissingOutputs(
            f"the output of push {missing[0]} is not attached (there: {there}): attach its kernel", missing
        )
    return [by_push[push] for push in after]


def resolve(arguments: Sequence[str], root: Path) -> list[str]:
    """Replace `input:SLUG/FILE` and `kaggle-model:...` by paths that are the same in every session and layout."""
    words = []
    for word in arguments:
        flag, value = split_word(word)
        if value.startswith(INPUT):
            slug, _, name = value.removeprefix(INPUT).partition("/")
            mounted = find_mount(root, slug)
            _check_hashes(mounted)
            value = str(_link(root, slug, mounted) / name)
        elif value.startswith(MODEL):
            value = str(_resolve_model(read_model(value), root))
        words.append(flag + value)
    return words


def find_mount(root: Path, slug: str) -> Path:
    """Return the folder of a dataset, competition or kernel output.

    Raises:
        MissingFileError: it is not attached; the message lists what is.
    """
    mounts = root / "input"
    patterns = (f"competitions/{slug}", f"datasets/*/{slug}", f"notebooks/*/{slug}", slug)
    for pattern in patterns:
        for path in sorted(mounts.glob(pattern)):
            if path.is_dir():
                return path
    raise MissingFileError(
        f"{slug!r} is not under {mounts} (there: {_attached(mounts)}); add it to the kernel's sources"
    )


def mounted_files(root: Path, name: str) -> list[Path]:
    """Return the files of this name at the top of the mounted folders."""
    # Not with a recursive glob: a data set may contain 100,000 files.
    patterns = (f"*/{name}", f"datasets/*/*/{name}", f"notebooks/*/*/{name}")
    return sorted({path for pattern in patterns for path in (root / "input").glob(pattern)})


def _resolve_model(model: KaggleModel, root: Path) -> Path:
    """Return a model's folder behind a stable link, or the file in it that is meant."""
    place = "/".join(("models", model.owner, model.model, model.framework, model.variation, model.version or "any"))
    link = _link(root, place, _find_model(model, root))
    if model.file:
        if not (link / model.file).exists():
            raise MissingFileError(f"{MODEL}{model.source} has no file {model.file!r} (there: {_names(link)})")
        return link / model.file
    weights = [path for path in link.iterdir() if path.suffix in MODEL_FILES]
    return weights[0] if len(weights) == 1 else link


def _find_model(model: KaggleModel, root: Path) -> Path:
    """Return the folder of a mounted model's version; the platform spells some parts in lower case."""
    names = (model.model, model.framework, model.variation)
    for parts in (("models", model.owner, *names), names):
        folders = [root / "input"]
        for pattern in [*map(re.escape, parts), model.version or "[0-9]+"]:
            there = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
            folders = [path for path in there if path.is_dir() and re.fullmatch(pattern, path.name, re.IGNORECASE)]
        if len(folders) == 1:
            return folders[0]
        if folders:
            versions = ", ".join(path.name for path in folders)
            raise MismatchError(f"{MODEL}{model.source} is mounted in versions {versions}: name one of them")
    mounts = root / "input"
    raise MissingFileError(
        f"the model {model.source} is not under {mounts} (there: {_attached(mounts)}); add it to the kernel's models"
    )


def _names(folder: Path) -> str:
    """Return the names in a folder, for a message."""
    return ", ".join(sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []) or "nothing"


def _attached(mounts: Path) -> str:
    """Return the names of what is attached, in either layout, for a message."""
    above = {"competitions": "*", "datasets": "*/*", "notebooks": "*/*", "models": "*/*/*/*"}
    paths = [path for name, below in above.items() for path in mounts.glob(f"{name}/{below}")]
    paths += [path for path in mounts.glob("*") if path.name not in above]
    return ", ".join(sorted(path.relative_to(mounts).as_posix() for path in paths)) or "nothing"


def _link(root: Path, name: str, mounted: Path) -> Path:
    """Make a link to a mounted folder, at the same place in every session.

    The paths get into the recipe, which has to be the same in every session of a run.
    """
    link = root / "temp" / "inputs" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(mounted)
    return link


def _check_hashes(folder: Path) -> None:
    """Check a folder's files against its `weights.json`, if it has one."""
    for name, file in (read_json(folder / WEIGHTS) or {}).items():
        path = folder / Path(name).name
        if not path.is_file() or sha256(path) != file["sha256"]:
            raise DataError(f"{path} is {'damaged' if path.is_file() else 'missing'}: upload the weights again")
