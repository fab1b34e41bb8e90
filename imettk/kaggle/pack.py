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
from importlib import metadata
from pathlib import Path
from typing import Any

import imettk
from imettk.errors import DataError, MismatchError, UserError
from imettk.kaggle.contents import METADATA, check_travels, keep_metadata, name_fault, replace_folder
from imettk.progress import say
from imettk.tracking.files import sha256, write_json

MANIFEST = "imettk-pack.json"
PACKAGE = "imettk.zip"
DATASET = "imettk-pack"
# What the platform's image lacks, with what they need; all pure Python. Torch, timm, albumentations and the like are
# there.
WHEELS = (
    "delegator.py",
    "docstring-parser",
    "munch",
    "pexpect",
    "pretrainedmodels",
    "ptyprocess",
    "python-telegram-bot",
    "six",
    "typeguard",
    "tyro",
    "warmup-scheduler",
)
_TIMESTAMP = (2020, 1, 1, 0, 0, 0)


def make_pack(
    out: Path, *, owner: str, recipe: Path | None = None, wheels: bool = True, extra: Sequence[Path] = ()
) -> str:
    """Build the dataset folder `out`; an older pack there is replaced. Returns the hash of its content.

    The same sources, recipe, wheels and extra files give the same bytes, and so the same hash. What an older pack's
    metadata say of this dataset (title, licence) is kept.

    Args:
        owner: the Kaggle user name in the dataset's id.
        recipe: a `.py` recipe of the user's own.
        wheels: whether to add the wheels, which takes the package index.
        extra: more files, such as pretrained weights.

    Raises:
        DataError: `out` holds something else than a pack, or that of another dataset with metadata of the user's; the
            recipe is missing; a file must not travel, or has the name of another.
        UserError: a wheel cannot be had.
    """
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise DataError(f"{out} is not empty and not an older pack; name another folder")
    if not re.fullmatch(r"[A-Za-z0-9-]+", owner):
        raise DataError(f"--owner: {owner!r} is no Kaggle user name (letters, digits and -)")
    about = keep_metadata(out / METADATA, _about(f"{owner}/{DATASET}"), _about)
    given = _check_given(recipe, extra)
    out.parent.mkdir(parents=True, exist_ok=True)
    # A failure leaves none behind.
    with name_fault(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        made = Path(folder, "pack")
        digest = _fill(made, given, wheels=wheels)["pack"]
        (made / METADATA).write_bytes(about)
        replace_folder(out, made)
    sizes = [path.stat().st_size for path in out.iterdir()]
    say(f"{out}: pack {digest}, {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB")
    return str(digest)


def make_manifest(*, recipe: Path | None = None, wheels: bool = True, extra: Sequence[Path] = ()) -> dict[str, Any]:
    """The manifest that a pack made now would have, which is not kept; arguments and errors as of `make_pack`.

    Returns:
        `pack`, the hash of its content; `files` and `sources`, the SHA-256 of each file in it and in its package by
        name; `python` and `needs`.
    """
    given = _check_given(recipe, extra)
    with tempfile.TemporaryDirectory() as folder:
        return _fill(Path(folder, "pack"), given, wheels=wheels)


def _about(reference: str) -> dict[str, Any]:
    """What the platform is told of the dataset."""
    return {"title": "imettk pack", "id": reference, "licenses": [{"name": "MIT"}]}


def _check_given(recipe: Path | None, extra: Sequence[Path]) -> list[Path]:
    """The user's own files in a pack; each may travel and has a name of its own."""
    if recipe is not None and recipe.suffix != ".py":
        raise DataError(f"{recipe} is not a .py recipe")
    given = [*([recipe] if recipe is not None else []), *extra]
    for path in given:
        if not path.is_file():
            raise DataError(f"{path} is missing")
        check_travels(path)
    names = [name.casefold() for name in (PACKAGE, MANIFEST, METADATA, *(path.name for path in given))]
    if double := [path for path in given if names.count(path.name.casefold()) > 1]:
        raise DataError(f"{double[-1]}: {double[-1].name} would lie in the pack twice; give it another name")
    return given


def _fill(folder: Path, given: Sequence[Path], *, wheels: bool) -> dict[str, Any]:
    """Put everything into a new folder; its manifest, which is written last."""
    folder.mkdir()
    sources = _zip_package(Path(imettk.__file__).parent, folder / PACKAGE)
    if wheels:
        _build_wheels(folder)
    for path in given:
        shutil.copyfile(path, folder / path.name)
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    needs = sorted(line for line in metadata.requires("imettk") or [] if "extra ==" not in line)
    python = metadata.metadata("imettk")["Requires-Python"]
    content = {"python": python, "needs": needs, "sources": sources, "files": files}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    manifest = {"pack": digest, **content}
    write_json(folder / MANIFEST, manifest)
    return manifest


def check_pack(pack: Path, *, wanted: str = "") -> list[Path]:
    """Compare a mounted pack with its manifest; returns its wheels.

    The platform unpacks zips: the package may stand there as a folder, whose files are held against the manifest too.

    Args:
        wanted: the hash of the pack that it must be; "" takes any.

    Raises:
        DataError: a file is missing or changed.
        MismatchError: it is another pack.
    """
    manifest = json.loads((pack / MANIFEST).read_text(encoding="utf-8"))
    if wanted and manifest["pack"] != wanted:
        raise MismatchError(f"{pack} is pack {manifest['pack']}, and this kernel was written for {wanted}: attach that")
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
    """What the pack needs and this Python lacks, or has too old, in words: "timm>=1.0.15 (here: 0.9)".

    Args:
        site: where the pack's wheels were installed.
    """
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    manifest = json.loads((pack / MANIFEST).read_text(encoding="utf-8"))
    here = sys.version.split()[0]
    faults = [] if SpecifierSet(manifest["python"]).contains(here) else [f"Python{manifest['python']} (here: {here})"]
    for line in manifest["needs"]:
        need = Requirement(line)
        found = list(metadata.distributions(name=need.name, path=[str(site), *sys.path]))
        version = found[0].version if found else "nothing"
        # OpenCV comes under several names, all of them the same module.
        if need.name.startswith("opencv") and not found:
            continue
        if not found or not need.specifier.contains(version, prereleases=True):
            faults.append(f"{line} (here: {version})")
    return faults


def _zip_package(package: Path, path: Path) -> dict[str, str]:
    """Zip the package's sources, the same to the same bytes; SHA-256 of each file in it by its name there."""
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
    """A file in a zip, with nothing of the time and the machine it was made at."""
    entry = zipfile.ZipInfo(name, _TIMESTAMP)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _forget_time(wheel: Path) -> None:
    """Rewrite a wheel, so that one built at another time (pip keeps those that it builds) has the same bytes."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in sorted(archive.namelist()) if not name.endswith("/")}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(_entry(name), content)


def _build_wheels(out: Path) -> None:
    """Fetch pure wheels; those that come as source only (pretrainedmodels, warmup-scheduler) are built.

    Each in the version that is installed here, so that what runs there is what was tried here.
    """
    try:
        pinned = [f"{name}=={metadata.version(name)}" for name in WHEELS]
    except metadata.PackageNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed, so its wheel has no version: pip install {error.name}"
        ) from None
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), *pinned]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"wheels could not be built ({last}); they need the package index, or leave them out with --no-wheels"
        )
    compiled = [path.name for path in out.glob("*.whl") if not path.name.endswith("-none-any.whl")]
    if compiled:
        raise UserError(f"{', '.join(compiled)} would fit only one Python; the pack holds pure wheels")
    for path in out.glob("*.whl"):
        _forget_time(path)
