"""Same bits: every built-in recipe in miniature, from prepare to the submission, as hashes of its files.

Hashes are over tensors (name, dtype, shape, bytes) of models and predictions, the numbers of rule.json and
scores.json, and submission.csv. They hold for one machine and its versions alone: save them before a change that must
not change a bit, and compare after it.

`python tools/bench/same_bits.py --save FILE`, then `python tools/bench/same_bits.py --against FILE --check`
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from table import print_machine

from imettk.cli.main import main as imettk
from imettk.synthetic.artworks import make_artworks
from imettk.synthetic.cells import make_cells
from imettk.synthetic.digits import make_digits
from imettk.synthetic.leaves import make_leaves
from imettk.synthetic.lesions import make_lesions
from imettk.synthetic.pastures import make_pastures
from imettk.synthetic.pets import make_pets
from imettk.synthetic.retinas import make_retinas
from imettk.synthetic.turtles import make_turtles
from imettk.synthetic.whales import make_whale_folders, make_whales

SMALL = ["--folds.num-folds", "2", "--model.backbone", "timm:test_resnet", "--session.num-workers", "0"]
SIDE = ["--images.image-size", "48", "48"]
UNSTABLE = ("time", "seconds")


def short(stages: int = 1, *, batch: int = 16, epochs: int = 2) -> list[str]:
    """Return options that make stages short."""
    options = {"batch-size": batch, "num-epochs": epochs, "warmup-epochs": 0.25, "accumulate": 1}
    return [
        word
        for stage in range(stages)
        for name, value in options.items()
        for word in (f"--stages.{stage}.{name}", str(value))
    ]


def artworks(data: Path, answers: Path) -> None:
    make_artworks(data, answers, num_train=96, num_test=24)


def cells(data: Path, answers: Path) -> None:
    make_cells(data, answers, num_train=80, num_external=24, num_test=16, side=64)


FLAT = ["--stages.0.warmup-epochs", "0"]  # of a schedule by steps
CELLS = [*SIDE, "--images.load-size", "64", "64"]
EMBEDDING = [*SIDE, "--model.embedding-size", "16", *short()]
PASTURE = [
    "--images.image-size",
    "32",
    "64",
    "--model.layer-groups",
    "2",
    "--stages.0.frozen-groups",
    "1",
    *short(batch=8),
]
# The data of each built-in recipe, and options that make it small.
STORIES: dict[str, tuple[Callable[[Path, Path], None], list[str]]] = {
    "digits": (make_digits, ["--stages.0.num-epochs", "2"]),
    "imet2019": (artworks, [*SIDE, *short(2)]),
    "imet2019-freezing": (artworks, [*SIDE, *short()]),
    "hpa2018": (cells, [*CELLS, "--model.hidden", "32", *short(), *FLAT]),
    "hpa2018-metric": (cells, [*CELLS, "--model.hidden", "16", "--model.embedding-size", "16", *short(batch=8), *FLAT]),
    "humpback2018": (make_whales, EMBEDDING),
    "humpback2018-arcface": (make_whales, EMBEDDING),
    "gdsc2020": (make_whale_folders, EMBEDDING),
    "gdsc2020-densenet": (make_whale_folders, EMBEDDING),
    "gdsc2020-triplet": (make_whale_folders, EMBEDDING),
    "turtle2022": (make_turtles, [*SIDE, *short(), *FLAT]),
    "melanoma2020": (make_lesions, [*CELLS, *short()]),
    "plant2020": (make_leaves, ["--images.image-size", "32", "48", *short(3)]),
    "csiro2025": (make_pastures, PASTURE),
    "aptos2019": (make_retinas, [*SIDE, *short()]),
    "pawpularity2021": (make_pets, [*CELLS, *short()]),
}


def command(*words: object) -> None:
    """Run a command of imettk in this process; show its output only if it fails."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            imettk([str(word) for word in words])
    except SystemExit as ending:
        if ending.code:
            raise SystemExit(shown.getvalue()) from None


def play(name: str, folder: Path) -> dict[str, str]:
    """Run a recipe from its table to its submission; return its files' hashes by name."""
    make_data, small = STORIES[name]
    run_dir = folder / name
    data = folder / make_data.__name__
    if not data.exists():
        make_data(data, folder / f"{make_data.__name__}.csv")
    common = ["--data", data, "--run-dir", run_dir]
    command("prepare", name, *common, *(SMALL if name != "digits" else SMALL[-2:]), *small)
    command("train", *common, "--fold", 0)
    command("validate", *common)
    command("infer", *common)
    files = [*sorted(run_dir.glob("fold*/*.safetensors")), *(run_dir / file for file in ("rule.json", "scores.json"))]
    hashes = {path.relative_to(run_dir).as_posix(): digest(path) for path in files if path.is_file()}
    submission = hashlib.sha256((run_dir / "submission.csv").read_bytes()).hexdigest()[:16]
    return hashes | {"submission.csv": submission}


def digest(path: Path) -> str:
    """Hash a file's numbers: tensors with name, dtype, shape and bytes, or a JSON file's fields,
    except empty ones."""
    found = hashlib.sha256()
    if path.suffix == ".safetensors":
        for name, tensor in sorted(load_file(path).items()):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.contiguous().view(-1).numpy().tobytes() if tensor.numel() else b"")
    else:
        content = _filled(json.loads(path.read_text()))
        found.update(json.dumps(content, sort_keys=True).encode())
    return found.hexdigest()[:16]


def _filled(content: Any) -> Any:
    """Return a JSON file's fields without the empty ones: later versions add fields that stay empty."""
    if not isinstance(content, dict):
        return content
    parts = ((name, _filled(value)) for name, value in content.items() if name not in UNSTABLE)
    return {name: value for name, value in parts if value not in ([], None)}


def run(arguments: argparse.Namespace) -> int:
    """Play the chosen recipes, print and compare their hashes; return the number that differ."""
    print_machine()
    before = json.loads(arguments.against.read_text()) if arguments.against else {}
    found: dict[str, dict[str, str]] = {}
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.recipes or STORIES:
            found[name] = play(name, Path(folder))
            for file, value in found[name].items():
                earlier = before.get(name, {}).get(file, "")
                verdict = "same" if earlier == value else f"DIFFERS, was {earlier or 'absent'}"
                if name not in before:  # nothing was saved, or the recipe is newer
                    verdict = "new" if before else ""
                faults += verdict.startswith("DIFFERS")
                print(f"{name:<22} {file:<28} {value}  {verdict}", flush=True)
    if arguments.save:
        arguments.save.write_text(json.dumps(found, indent=2) + "\n")
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", help="built-in names (default: all)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the hashes as JSON")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with hashes that were saved before")
    parser.add_argument("--check", action="store_true", help="exit 1 where any differs")
    arguments = parser.parse_args()
    differing = run(arguments)
    if arguments.check and differing:
        sys.exit(1)


if __name__ == "__main__":
    main()
