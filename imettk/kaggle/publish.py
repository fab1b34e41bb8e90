"""Trained models as a dataset, and back: a dataset is a flat list of files, a run folder is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from imettk.config import read_recipe
from imettk.errors import DataError, MissingFileError
from imettk.kaggle.contents import METADATA, check_travels
from imettk.progress import say
from imettk.tracking.files import sha256, write_json

MANIFEST = "imettk-run.json"
WANTED = ("recipe.json", "table.json", "folds.csv", "rule.json", "scores.json")
OF_FOLDS = ("model.safetensors", "gallery.safetensors")


def make_models(run_dir: Path, out: Path, *, owner: str, slug: str) -> list[str]:
    """Fill a dataset folder with what inference needs of a run; the names of its files.

    Raises:
        MissingFileError: no fold is trained.
        DataError: `out` is in use.
    """
    read_recipe(run_dir / "recipe.json")
    paths = [run_dir / name for name in WANTED if (run_dir / name).is_file()]
    models = sorted(path for name in OF_FOLDS for path in run_dir.glob(f"fold*/{name}"))
    if not any(path.name == OF_FOLDS[0] for path in models):
        raise MissingFileError(f"{run_dir} has no trained fold: run `imettk train` first, or pull its output")
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise DataError(f"{out} is not empty and holds no models; give another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    files = {}
    for path in [*paths, *models]:
        check_travels(path)
        name = path.relative_to(run_dir).as_posix()
        flat = "run--" + name.replace("/", "--")
        shutil.copyfile(path, out / flat)
        files[name] = {"file": flat, "sha256": sha256(path)}
    write_json(out / MANIFEST, {"files": files})
    about = {"title": slug.replace("-", " "), "id": f"{owner}/{slug}", "licenses": [{"name": "MIT"}]}
    write_json(out / METADATA, about)
    size = sum(path.stat().st_size for path in out.iterdir())
    say(f"{out}: {len(models)} files of folds, {size / 1e6:.1f} MB")
    return sorted(files)


def unfold_models(mounted: Path, folder: Path) -> Path:
    """Lay a mounted dataset out as the run folder that it was, by links; every file is held against its hash.

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
