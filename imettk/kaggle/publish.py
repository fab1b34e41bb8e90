"""Trained models as a dataset, which is a flat list of files, and the run folder restored from it."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from imettk.config import read_recipe
from imettk.errors import DataError, MissingFileError, UserError
from imettk.files import write_atomically
from imettk.kaggle.client import Kaggle
from imettk.kaggle.contents import METADATA, check_travels, keep_metadata, name_fault, replace_folder
from imettk.kaggle.versions import hold_upload, upload_version
from imettk.progress import say
from imettk.tracking.files import read_json, sha256, write_json

MANIFEST = "imettk-run.json"
WANTED = ("recipe.json", "table.json", "folds.csv", "rule.json", "scores.json")
OF_FOLDS = ("model.safetensors", "gallery.safetensors")
WEIGHTS = "weights.json"  # names and hashes of pretrained weights, as written by `imettk weights`
WEIGHTS_SLUG = "imettk-weights"


def make_models(run_dir: Path, out: Path, *, owner: str, slug: str) -> list[str]:
    """Fill a dataset folder with the files of a run that inference needs, and return their names in the run.

    Raises:
        MissingFileError: no fold is trained.
        DataError: `out` contains something else, or another dataset's metadata that the user has edited.
    """
    read_recipe(run_dir / "recipe.json")
    paths = [run_dir / name for name in WANTED if (run_dir / name).is_file()]
    models = sorted(path for name in OF_FOLDS for path in run_dir.glob(f"fold*/{name}"))
    if not any(path.name == OF_FOLDS[0] for path in models):  # a gallery alone is of no use
        raise MissingFileError(f"{run_dir} has no trained fold: run `imettk train` first, or pull its output")
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise DataError(f"{out} is not empty and contains no published models; give another --out")
    about = keep_metadata(out / METADATA, _about(f"{owner}/{slug}"), _about)
    for path in (*paths, *models):
        check_travels(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    # In a temporary folder: a failure leaves no half-made dataset behind.
    with name_fault(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        made = Path(folder, "models")
        made.mkdir()
        files = {}
        for path in (*paths, *models):
            name = path.relative_to(run_dir).as_posix()
            # A dataset has no folders: paths of the run folder become names, and the manifest restores them.
            flat = "run--" + name.replace("/", "--")
            shutil.copyfile(path, made / flat)
            files[name] = {"file": flat, "sha256": sha256(made / flat)}
        write_json(made / MANIFEST, {"files": files})
        (made / METADATA).write_bytes(about)
        replace_folder(out, made)
    size = sum(path.stat().st_size for path in out.iterdir())
    say(f"{out}: {len(models)} model files of folds, {size / 1e6:.1f} MB")
    return sorted(files)


def upload_models(kaggle: Kaggle, run_dir: Path, out: Path, *, slug: str, notes: str) -> tuple[str, int]:
    """Make the dataset of a run's models, upload it if it is new, and return `owner/slug` and its version."""
    with hold_upload(out, kaggle.patience.sleep):
        make_models(run_dir, out, owner=kaggle.username, slug=slug)
        files = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["files"].values()
        return upload_version(kaggle, out, [MANIFEST, *(file["file"] for file in files)], mark=MANIFEST, notes=notes)


def upload_weights(kaggle: Kaggle, folder: Path) -> tuple[str, int]:
    """Upload a folder of weights as `imettk-weights` if it is new, and return `owner/slug` and its version.

    The files that its `weights.json` lists are sent, with that list; other files are named and left out. An existing
    `dataset-metadata.json` of this dataset is kept.

    Raises:
        UserError: nothing is listed.
        DataError: a file is missing, damaged, or must not travel; or the metadata belong to another dataset.
    """
    with hold_upload(folder, kaggle.patience.sleep):
        names = _listed(folder)
        wanted = {"title": "imettk weights", "id": f"{kaggle.username}/{WEIGHTS_SLUG}", "licenses": [{"name": "other"}]}
        about = keep_metadata(folder / METADATA, wanted)
        for name in names:
            check_travels(folder / name)
        if others := sorted({path.name for path in folder.iterdir()} - {*names, METADATA}):
            say(f"{folder}: not sent, because {WEIGHTS} does not list them: {', '.join(others)}")
        write_atomically(folder / METADATA, about)
        notes = ", ".join(sorted(Path(name).stem for name in names if name != WEIGHTS))
        return upload_version(kaggle, folder, names, mark=WEIGHTS, notes=notes)


def _about(reference: str) -> dict[str, Any]:
    """Return the metadata of the dataset of models `reference`."""
    title = reference.partition("/")[2].replace("-", " ")
    return {"title": title, "id": reference, "licenses": [{"name": "MIT"}]}


def _listed(folder: Path) -> list[str]:
    """Return the files that a folder's `weights.json` lists, checked against their hashes, and the list itself."""
    listed = read_json(folder / WEIGHTS)
    if not listed:
        raise UserError(
            f"{folder / WEIGHTS} lists no weights: fetch some with `imettk weights BACKBONE --out {folder} --upload`"
        )
    for name, about in listed.items():
        path = folder / name
        if Path(name).name != name:
            raise DataError(f"{folder / WEIGHTS} names {name!r}, which is not a file of this folder: remove the entry")
        if not path.is_file():
            raise DataError(f"{path} is missing, but {WEIGHTS} lists it: fetch it again, or remove it from the list")
        if not isinstance(about, dict) or about.get("sha256") != sha256(path):
            raise DataError(f"{path} does not match its hash in {WEIGHTS}: remove it, and fetch it again")
    return [*listed, WEIGHTS]


def unfold_models(mounted: Path, folder: Path) -> Path:
    """Restore the run folder of a mounted dataset by links, and check every file against its hash.

    Raises:
        DataError: a file is missing, damaged, or would lie outside.
    """
    files = json.loads((mounted / MANIFEST).read_text(encoding="utf-8"))["files"]
    for name, file in files.items():
        parts = Path(name).parts
        source = mounted / Path(file["file"]).name
        if Path(name).is_absolute() or ".." in parts:
            raise DataError(f"{mounted / MANIFEST} names {name!r}, which lies outside: publish the run again")
        if not source.is_file() or sha256(source) != file["sha256"]:
            raise DataError(f"{source} is {'damaged' if source.is_file() else 'missing'}: publish the run again")
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(source)
    return folder
