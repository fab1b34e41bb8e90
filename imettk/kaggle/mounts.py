"""Inside a kernel: where the platform has mounted what is attached, in its newer layout or the older one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imettk.errors import DataError, MismatchError, MissingFileError, UserError
from imettk.kaggle.outputs import OUTPUT, read_output_list
from imettk.tracking.files import read_json, sha256

WEIGHTS = "weights.json"  # names and hashes of pretrained weights, as `imettk weights` writes it
INPUT = "input:"  # in an argument: a dataset by its slug, wherever it is mounted
MODEL = "kaggle-model:"  # in an argument: one of Kaggle's own models
MODEL_FILES = (".safetensors", ".pth", ".pt", ".bin")


class MissingOutputs(MismatchError):
    """Outputs that a kernel was to take up are not mounted.

    Attributes:
        pushes: that should have made them.
    """

    def __init__(self, message: str, pushes: Sequence[str]) -> None:
        super().__init__(message)
        self.pushes = tuple(pushes)


@dataclass(frozen=True)
class KaggleModel:
    """A variation of one of Kaggle's models, as `kaggle-model:OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION][/FILE]`.

    Attributes:
        version: a number; "" takes the one that is mounted.
        file: in the variation's folder; "" is its only file of weights, or the folder.
    """

    owner: str
    model: str
    framework: str
    variation: str
    version: str = ""
    file: str = ""

    @property
    def source(self) -> str:
        """The name by which a kernel attaches it."""
        parts = (self.owner, self.model, self.framework, self.variation, self.version)
        return "/".join(filter(None, parts))


def read_model(text: str) -> KaggleModel:
    """The model that `kaggle-model:...` names: a number after the variation is its version, the rest a file.

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
    """A word of a command line as what stands before its value (`--model.weights=` or nothing), and the value."""
    flag, equals, value = word.partition("=")
    return (flag + equals, value) if word.startswith("--") and equals else ("", word)


def find_outputs(root: Path, after: Sequence[str]) -> list[Path]:
    """Folders with outputs of earlier kernels: those of these pushes, or all that are attached where none is named.

    The output of a session that was killed counts as well.

    Raises:
        MissingOutputs: the output of one of the pushes is not attached, or an older one is in its place.
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
    """Words with `input:SLUG/FILE` and `kaggle-model:...` as paths, the same ones in every session and layout."""
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
    """The folder of a dataset, competition or kernel output.

    Raises:
        MissingFileError: it is not attached; the message lists what is.
    """
    mounts = root / "input"
    patterns = (f"competitions/{slug}", f"datasets/*/{slug}", f"notebooks/*/{slug}", slug)
    for pattern in patterns:
        for path in sorted(mounts.glob(pattern)):
            if path.is_dir():
                return path
    raise MissingFileError(f"{slug!r} is not under {mounts} (there: {_names(mounts)}); add it to the kernel's sources")


def mounted_files(root: Path, name: str) -> list[Path]:
    """Files of this name at the top of a mounted folder; not deeper, where a data set may hold 100,000 files."""
    patterns = (f"*/{name}", f"datasets/*/*/{name}", f"notebooks/*/*/{name}")
    return sorted({path for pattern in patterns for path in (root / "input").glob(pattern)})


def _resolve_model(model: KaggleModel, root: Path) -> Path:
    """A model's folder behind a stable link, or the file in it that is meant."""
    place = "/".join(("models", model.owner, model.model, model.framework, model.variation, model.version or "any"))
    link = _link(root, place, _find_model(model, root))
    if model.file:
        if not (link / model.file).exists():
            raise MissingFileError(f"{MODEL}{model.source} has no file {model.file!r} (there: {_names(link)})")
        return link / model.file
    weights = [path for path in link.iterdir() if path.suffix in MODEL_FILES]
    return weights[0] if len(weights) == 1 else link


def _find_model(model: KaggleModel, root: Path) -> Path:
    """The folder of a mounted model's version; the platform spells some parts in lower case."""
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
        f"the model {model.source} is not under {mounts} (there: {_names(mounts)}); add it to the kernel's models"
    )


def _names(folder: Path) -> str:
    """The names in a folder, for a message."""
    return ", ".join(sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []) or "nothing"


def _link(root: Path, name: str, mounted: Path) -> Path:
    """A link to what is mounted, at the same place in every session."""
    link = root / "temp" / "inputs" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(mounted)
    return link


def _check_hashes(folder: Path) -> None:
    """Hold a folder's files against its `weights.json`, where it has one."""
    for name, file in (read_json(folder / WEIGHTS) or {}).items():
        path = folder / Path(name).name
        if not path.is_file() or sha256(path) != file["sha256"]:
            raise DataError(f"{path} is {'damaged' if path.is_file() else 'missing'}: upload the weights again")
