"""The pack: a dataset folder with the zipped package, wheels that the platform lacks, and a hash of every file."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import imettk
from imettk.errors import DataError, MismatchError, UserError
from imettk.extras import requirements
from imettk.kaggle.contents import METADATA, check_travels, keep_metadata, name_fault, replace_folder
from imettk.progress import say
from imettk.tracking.files import sha256, write_json

MANIFEST = "imettk-pack.json"
PACKAGE = "imettk.zip"
DATASET = "imettk-pack"
# The libraries that the platform's image lacks, and their requirements; all pure Python. It has torch, timm,
# albumentations and the like.
WHEELS = (
    "delegator.py",
    "docstring-parser",
    "munch",
    "pexpect",
    "pretrainedmodels",
    "ptyprocess",
    "python-telegram-bot",
    "shtab",
    "six",
    "typeguard",
    "tyro",
    "warmup-scheduler",
)
_TIMESTAMP = (2020, 1, 1, 0, 0, 0)  # of every file in a zip, so that equal contents have equal bytes


@dataclass(frozen=True, kw_only=True)
class PackOrder:
    """The contents of a pack besides imettk itself.

    Attributes:
        recipe: a `.py` recipe of the user's own.
        wheels: whether to add the wheels, which needs the package index.
        extra: more files, such as pretrained weights, or wheels of compiled libraries.
        formats: the extras of imettk whose libraries the recipe's files need.
    """

    recipe: Path | None = None
    wheels: bool = True
    extra: Sequence[Path] = ()
    formats: Sequence[str] = ()


def make_pack(out: Path, order: PackOrder, *, owner: str) -> str:
    """Build the dataset folder `out`, replacing an older pack there, and return the hash of its content.

    The same sources, recipe, wheels and extra files give the same bytes, and so the same hash. Title and licence in an
    older pack's metadata are kept.

    Args:
        owner: the Kaggle user name in the dataset's id.

    Raises:
        DataError: `out` contains something other than a pack, or another dataset's metadata that the user has edited;
            the recipe is missing; or a file must not travel, or has the name of another.
        UserError: a wheel cannot be built or downloaded.
    """
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise DataError(f"{out} is not empty and not an older pack; name another folder")
    if not re.fullmatch(r"[A-Za-z0-9-]+", owner):
        raise DataError(f"--owner: {owner!r} is no Kaggle user name (letters, digits and -)")
    about = keep_metadata(out / METADATA, _about(f"{owner}/{DATASET}"), _about)
    given = _check_given(order)
    out.parent.mkdir(parents=True, exist_ok=True)
    # In a temporary folder: a failure leaves no half-made pack behind.
    with name_fault(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        made = Path(folder, "pack")
        digest = _fill(made, given, order)["pack"]
        (made / METADATA).write_bytes(about)
        replace_folder(out, made)
    sizes = [path.stat().st_size for path in out.iterdir()]
    say(f"{out}: pack {digest}, {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB")
    return str(digest)


def make_manifest(order: PackOrder) -> dict[str, Any]:
    """Return the manifest that a pack made now would have, without keeping the pack; errors as in `make_pack`.

    Returns:
        `pack`, the hash of its content; `files` and `sources`, the SHA-256 of each file of the pack and of its package
        by name; `python`, `needs` and `formats`, the requirements.
    """
    given = _check_given(order)
    with tempfile.TemporaryDirectory() as folder:
        return _fill(Path(folder, "pack"), given, order)


def _about(reference: str) -> dict[str, Any]:
    """Return the metadata of the dataset `reference`."""
    return {"title": "imettk pack", "id": reference, "licenses": [{"name": "MIT"}]}


def _check_given(order: PackOrder) -> list[Path]:
    """Return the user's own files for a pack, after checking that each may travel and has a unique name."""
    recipe = order.recipe
    if recipe is not None and recipe.suffix != ".py":
        raise DataError(f"{recipe} is not a .py recipe")
    given = [*([recipe] if recipe is not None else []), *order.extra]
    for path in given:
        if not path.is_file():
            raise DataError(f"{path} is missing")
        check_travels(path)
    names = [name.casefold() for name in (PACKAGE, MANIFEST, METADATA, *(path.name for path in given))]
    if doubled := [path for path in given if names.count(path.name.casefold()) > 1]:
        raise DataError(f"{doubled[-1]}: {doubled[-1].name} would be in the pack twice; give it another name")
    return given


def _fill(folder: Path, given: Sequence[Path], order: PackOrder) -> dict[str, Any]:
    """Put everything into a new folder, write its manifest last, and return the manifest."""
    folder.mkdir()
    sources = _zip_package(Path(imettk.__file__).parent, folder / PACKAGE)
    formats = {name: requirements(name) for name in order.formats}
    if unknown := [name for name, lines in formats.items() if not lines]:
        raise UserError(f"the installed imettk has no extra named {', '.join(unknown)}: install imettk again")
    if order.wheels:
        libraries = (Requirement(line).name for lines in formats.values() for line in lines)
        _build_wheels(folder, [*WHEELS, *filter(_is_pure, libraries)])
    for path in given:
        shutil.copyfile(path, folder / path.name)
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    python = metadata.metadata("imettk")["Requires-Python"]
    content = {"python": python, "needs": sorted(requirements()), "sources": sources, "files": files}
    if formats:
        content["formats"] = formats
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    manifest = {"pack": digest, **content}
    write_json(folder / MANIFEST, manifest)
    return manifest


def _is_pure(library: str) -> bool:
    """Return whether a library is pure Python; raise `UserError` if it is not installed here."""
    try:
        lines = (metadata.distribution(library).read_text("WHEEL") or "").splitlines()
    except metadata.PackageNotFoundError:
        raise UserError(
            f"{library}, which the recipe's files need, is not installed, so its wheel has no version: pip install "
            f"{library}, or leave wheels out with --no-wheels"
        ) from None
    # Not by "Root-Is-Purelib": some compiled libraries claim to be pure.
    tags = [line for line in lines if line.startswith("Tag:")]
    return bool(tags) and all(tag.endswith("-none-any") for tag in tags)


def check_pack(pack: Path, *, wanted: str = "") -> list[Path]:
    """Check a mounted pack against its manifest, and return its wheels.

    The platform unpacks zips, so the package may be a folder there, whose files are checked as well.

    Args:
        wanted: the hash that the pack must have; "" accepts any.

    Raises:
        DataError: a file is missing or changed.
        MismatchError: it is another pack.
    """
    manifest = json.loads((pack / MANIFEST).read_text(encoding="utf-8"))
    if wanted and manifest["pack"] != wanted:
        raise MismatchError(
            f"{pack} is pack {manifest['pack']}, but this kernel was written for {wanted}: attach that version"
        )
    files = {pack / name: digest for name, digest in manifest["files"].items()}
    if not (pack / PACKAGE).is_file():
        del files[pack / PACKAGE]
        unpacked = next((folder for folder in (pack / "imettk", pack) if (folder / "imettk").is_dir()), pack)
        files |= {unpacked / name: digest for name, digest in manifest["sources"].items()}
    for path, digest in files.items():
        if not path.is_file() or sha256(path) != digest:
            raise DataError(f"{path} is {'damaged' if path.is_file() else 'missing'}: upload the pack again")
    return [pack / name for name in manifest["files"] if name.endswith(".whl")]


def missing_libraries(pack: Path, site: Path) -> list[str]:
    """Return the requirements of a pack that this Python does not fulfil, in words: "timm>=1.0.15 (here: 0.9)".

    Args:
        site: the folder where the pack's wheels were installed.
    """
    manifest = json.loads((pack / MANIFEST).read_text(encoding="utf-8"))
    here = sys.version.split()[0]
    faults = [] if SpecifierSet(manifest["python"]).contains(here) else [f"Python{manifest['python']} (here: {here})"]
    faults += filter(None, (_lack(line, site) for line in manifest["needs"]))
    # The first library of a format reads its files and is required. The others are decoders for some of its files,
    # which this competition may not contain: a missing one is only mentioned.
    for first, *others in manifest.get("formats", {}).values():
        faults += [_to_be_added(lack) for lack in [_lack(first, site)] if lack]
        for lack in filter(None, (_lack(line, site) for line in others)):
            say(f"note: this image lacks {_to_be_added(lack)}")
    return faults


def _to_be_added(lack: str) -> str:
    """Describe a missing library of a format, with the command that gets its wheel for the pack."""
    python, name = f"{sys.version_info.major}.{sys.version_info.minor}", Requirement(lack.split(" (")[0]).name
    return (
        f"{lack}, which the recipe's files may need: `pip download --no-deps --only-binary :all: --python-version "
        f"{python} --platform manylinux2014_x86_64 {name}`, and give the file as --add"
    )


def _lack(line: str, site: Path) -> str:
    """Return an unfulfilled requirement and what is there instead; "" if it is fulfilled."""
    need = Requirement(line)
    installed = list(metadata.distributions(name=need.name, path=[str(site), *sys.path]))
    version = installed[0].version if installed else "nothing"
    # OpenCV has several distributions with the same module: the image may have it under another name.
    if need.name.startswith("opencv") and not installed:
        return ""
    fits = installed and need.specifier.contains(version, prereleases=True)
    return "" if fits else f"{line} (here: {version})"


def _zip_package(package: Path, path: Path) -> dict[str, str]:
    """Zip the package's sources reproducibly, and return the SHA-256 of each file by its name in the zip."""
    digests = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(package.rglob("*")):
            if file.suffix in (".py", ".html") or file.name == "py.typed":
                check_travels(file)
                name = f"imettk/{file.relative_to(package).as_posix()}"
                archive.writestr(_entry(name), file.read_bytes())
                digests[name] = sha256(file)
    return digests


def _entry(name: str) -> zipfile.ZipInfo:
    """Return the entry of a file in a zip, without a trace of time and machine."""
    entry = zipfile.ZipInfo(name, _TIMESTAMP)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _forget_time(wheel: Path) -> None:
    """Rewrite a wheel without times: pip builds some wheels here, or takes them from its cache, at different times."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in sorted(archive.namelist()) if not name.endswith("/")}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(_entry(name), content)


def _build_wheels(out: Path, names: Sequence[str]) -> None:
    """Download pure wheels, or build those that are published only as source (pretrainedmodels, warmup-scheduler).

    Each has the version that is installed here, so that what runs there is what was tested here.
    """
    try:
        pinned = [f"{name}=={metadata.version(name)}" for name in names]
    except metadata.PackageNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed, so its wheel has no version: pip install {error.name}"
        ) from None
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), *pinned]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"the wheels could not be built ({last}): they need the package index; --no-wheels leaves them out"
        )
    compiled = [path.name for path in out.glob("*.whl") if not path.name.endswith("-none-any.whl")]
    if compiled:
        raise UserError(f"{', '.join(compiled)} would fit only one version of Python; the pack takes pure wheels")
    for path in out.glob("*.whl"):
        _forget_time(path)
