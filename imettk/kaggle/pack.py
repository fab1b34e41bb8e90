"""The pack: a dataset folder with the zipped package, wheels that the platform lacks, and a hash of every file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import imettk
from imettk.errors import DataError, UserError
from imettk.progress import say
from imettk.tracking.files import sha256, write_json

MANIFEST = "imettk-pack.json"
PACKAGE = "imettk.zip"
# What the platform's image lacks, with what they need; all pure Python. Torch, timm, albumentations and the like are
# there.
WHEELS = (
    "delegator.py==0.1.1",
    "docstring-parser",
    "munch",
    "pexpect",
    "pretrainedmodels==0.7.4",
    "ptyprocess",
    "six",
    "typeguard",
    "tyro",
    "warmup-scheduler==0.3",
)
_TIMESTAMP = (2020, 1, 1, 0, 0, 0)


def make_pack(out: Path, *, owner: str, recipe: Path | None = None, wheels: bool = True) -> None:
    """Build the dataset folder `out`; an older pack there is replaced.

    Args:
        owner: the Kaggle user name in the dataset's id.
        recipe: a `.py` recipe of the user's own.
        wheels: whether to add the wheels, which takes the package index.

    Raises:
        DataError: `out` holds something else than a pack, or the recipe is missing.
        UserError: a wheel cannot be had.
    """
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise DataError(f"{out} is not empty and not an older pack; give another --out")
    if recipe is not None and recipe.suffix != ".py":
        raise DataError(f"{recipe} is not a .py recipe")
    if recipe is not None and not recipe.is_file():
        raise DataError(f"{recipe} is missing")
    if not re.fullmatch(r"[A-Za-z0-9-]+", owner):
        raise DataError(f"--owner: {owner!r} is no Kaggle user name (letters, digits and -)")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    _zip_package(Path(imettk.__file__).parent, out / PACKAGE)
    if wheels:
        _build_wheels(out)
    if recipe is not None:
        shutil.copyfile(recipe, out / recipe.name)
    files = {path.name: sha256(path) for path in sorted(out.iterdir())}
    write_json(out / MANIFEST, {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "files": files})
    metadata = {"title": "imettk pack", "id": f"{owner}/imettk-pack", "licenses": [{"name": "MIT"}]}
    write_json(out / "dataset-metadata.json", metadata)
    say(
        f"{out}: {len(files)} files, {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.1f} MB; "
        f"upload with `kaggle datasets create -p {out}` (later: `kaggle datasets version -p {out} -m MESSAGE`)"
    )


def check_pack(pack: Path) -> list[Path]:
    """Compare a mounted pack with its manifest; returns its wheels.

    The platform unpacks zips: the package may stand there as a folder, which is then not hashed.

    Raises:
        DataError: a file is missing or changed.
    """
    manifest = json.loads((pack / MANIFEST).read_text(encoding="utf-8"))
    for name, digest in manifest["files"].items():
        path = pack / name
        if name == PACKAGE and not path.is_file():
            continue
        if not path.is_file() or sha256(path) != digest:
            raise DataError(f"{path} is {'damaged' if path.is_file() else 'missing'}: upload the pack again")
    return [pack / name for name in manifest["files"] if name.endswith(".whl")]


def _zip_package(package: Path, path: Path) -> None:
    """Zip the package's sources; the same sources give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(package.rglob("*")):
            if file.suffix == ".py" or file.name == "py.typed":
                entry = zipfile.ZipInfo(f"imettk/{file.relative_to(package).as_posix()}", _TIMESTAMP)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, file.read_bytes())


def _build_wheels(out: Path) -> None:
    """Fetch pure wheels; those that come as source only (pretrainedmodels, warmup-scheduler) are built."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), *WHEELS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"wheels could not be built ({last}); they need the package index, or leave them out with --no-wheels"
        )
    compiled = [path.name for path in out.glob("*.whl") if not path.name.endswith("-none-any.whl")]
    if compiled:
        raise UserError(f"{', '.join(compiled)} would fit only one Python; the pack holds pure wheels")
