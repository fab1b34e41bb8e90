"""Inside a kernel: find what is mounted, install offline, run one stage with its lines shown as they come."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imettk.config import SESSION_START
from imettk.errors import DataError, MismatchError, MissingFileError, UserError
from imettk.kaggle.outputs import OUTPUT, read_output_list, write_output_list
from imettk.kaggle.pack import check_pack, missing_libraries
from imettk.kaggle.publish import MANIFEST as MODELS
from imettk.kaggle.publish import unfold_models
from imettk.tracking.files import read_json, sha256

WEIGHTS = "weights.json"  # names and hashes of pretrained weights, as `imettk weights` writes it
INPUT = "input:"  # in an argument: a dataset by its slug, wherever it is mounted
SITE = "imettk-site"  # where wheels are installed, outside of what the platform keeps


@dataclass(frozen=True)
class Order:
    """What a kernel's text asks for.

    Attributes:
        stage: a command of imettk.
        recipe: a built-in name, or the name of a `.py` file in the pack.
        competition: slug of the folder with the data.
        arguments: options of the stage.
        pack: hash of the pack that it was written for; "" takes any.
        push: of the push that wrote it; "" where it was pushed by hand.
        after: the pushes whose outputs are taken up; none is every output that is attached.
    """

    stage: str
    recipe: str
    competition: str
    arguments: Sequence[str] = ()
    pack: str = ""
    push: str = ""
    after: Sequence[str] = ()


def run_stage(order: Order, *, root: Path, pack: Path, code: Path, started: float) -> int:
    """Run one stage as a kernel; returns the kernel's exit code.

    The working folder is the run folder; outputs of earlier kernels are its inputs. At the end stands a list of what
    it leaves, which says how the stage ended. A kernel with a `push` ends with code 0 whatever its stage did: the
    platform gives the output of a failed kernel to no other, and hours of training would be lost with it.

    Args:
        root: `/kaggle`.
        code: what to put on the path to import imettk: the zip of the pack, or the folder it was unpacked to.
        started: when the kernel started, on `time.monotonic()`.
    """
    working = root / "working"
    try:
        status = _run(order, root, pack, code, started)
    except UserError as error:
        print(f"imettk: {error}", file=sys.stderr)
        status = 2
    seconds = time.monotonic() - started
    write_output_list(working, push=order.push, stage=order.stage, code=status, seconds=seconds)
    if status and order.push:
        print(f"imettk: {order.stage} ended with code {status}; this session counts as complete to keep its output")
        return 0
    return status


def _run(order: Order, root: Path, pack: Path, code: Path, started: float) -> int:
    """The stage's exit code."""
    data = find_mount(root, order.competition)
    recipe = str(pack / order.recipe) if order.recipe.endswith(".py") else order.recipe
    site = _install(check_pack(pack, wanted=order.pack), root)
    if faults := missing_libraries(pack, site):
        raise UserError(f"this image lacks {', '.join(faults)}: pin the one that was there when it worked")
    inputs = [*find_outputs(root, order.after), *_unfold(root)]
    command = [sys.executable, "-u", "-m", "imettk", order.stage, recipe]
    command += ["--data", str(data), "--run-dir", str(root / "working")]
    command += (["--inputs", *map(str, inputs)] if inputs else []) + _resolve(order.arguments, root)
    paths = [str(code), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), SESSION_START: repr(started)}
    print("$", shlex.join(command), flush=True)
    # Not delegator: with block=True it holds every line back until the stage ends, nine silent hours later.
    return subprocess.run(command, env=environment, check=False).returncode


def find_outputs(root: Path, after: Sequence[str]) -> list[Path]:
    """Folders with outputs of earlier kernels: those of these pushes, or all that are attached where none is named.

    Raises:
        MismatchError: the output of one of the pushes is not attached, or an older one is in its place.
    """
    folders = [path.parent for path in _mounted(root, "recipe.json")]
    if not after:
        return folders
    lists = {folder: read_output_list(folder) for folder in {path.parent for path in _mounted(root, OUTPUT)}}
    by_push = {content["push"]: folder for folder, content in lists.items() if content is not None}
    missing = [push for push in after if push not in by_push]
    if missing:
        there = ", ".join(sorted(filter(None, by_push))) or "none"
        raise MismatchError(f"the output of push {missing[0]} is not attached (there: {there}): attach its kernel")
    return [by_push[push] for push in after]


def _unfold(root: Path) -> list[Path]:
    """Folders of published runs, whose datasets are flat."""
    mounted = [path.parent for path in _mounted(root, MODELS)]
    return [unfold_models(folder, root / "temp" / "imettk-models" / str(n)) for n, folder in enumerate(mounted)]


def _resolve(arguments: Sequence[str], root: Path) -> list[str]:
    """`input:SLUG/FILE` as a path to what is attached, the same one in every session and layout."""
    found = []
    for word in arguments:
        if word.startswith(INPUT):
            slug, _, name = word.removeprefix(INPUT).partition("/")
            link = root / "temp" / "inputs" / slug
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            mounted = find_mount(root, slug)
            _check_hashes(mounted)
            link.symlink_to(mounted)
            word = str(link / name) if name else str(link)
        found.append(word)
    return found


def _check_hashes(folder: Path) -> None:
    """Hold a folder's files against its `weights.json`, where it has one."""
    for name, file in (read_json(folder / WEIGHTS) or {}).items():
        path = folder / Path(name).name
        if not path.is_file() or sha256(path) != file["sha256"]:
            raise DataError(f"{path} is {'damaged' if path.is_file() else 'missing'}: upload the weights again")


def find_mount(root: Path, slug: str) -> Path:
    """The folder of a dataset, competition or kernel output, in the platform's newer layout or the older one.

    Raises:
        MissingFileError: it is not attached; the message lists what is.
    """
    mounts = root / "input"
    patterns = (f"competitions/{slug}", f"datasets/*/{slug}", f"notebooks/*/{slug}", slug)
    for pattern in patterns:
        for path in sorted(mounts.glob(pattern)):
            if path.is_dir():
                return path
    attached = sorted(path.name for path in mounts.iterdir()) if mounts.is_dir() else []
    raise MissingFileError(
        f"{slug!r} is not under {mounts} (there: {', '.join(attached) or 'nothing'}); add it to the kernel's sources"
    )


def _mounted(root: Path, name: str) -> list[Path]:
    """Files of this name at the top of a mounted folder; not deeper, where a data set may hold 100,000 files."""
    patterns = (f"*/{name}", f"datasets/*/*/{name}", f"notebooks/*/*/{name}")
    return sorted({path for pattern in patterns for path in (root / "input").glob(pattern)})


def _install(wheels: list[Path], root: Path) -> Path:
    """Install the pack's wheels without network into a folder of their own; returns the folder."""
    site = root / "temp" / SITE
    if not wheels:
        return site
    # Delegator comes in the pack itself; a pure wheel can be imported from as it is.
    sys.path[:0] = [str(wheel) for wheel in wheels if wheel.name.startswith(("delegator", "pexpect", "ptyprocess"))]
    import delegator

    shutil.rmtree(site, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site)]
    _shell(delegator, shlex.join([*pip, *map(str, wheels)]), required=True)
    _shell(delegator, "nvidia-smi --query-gpu=name,memory.total --format=csv,noheader || true")
    _shell(delegator, f"df -h {shlex.quote(str(root / 'working'))} | tail -1")
    return site


def _shell(delegator, line: str, *, required: bool = False) -> None:  # type: ignore[no-untyped-def]
    """One short shell step through delegator, its output shown when it ends."""
    step = delegator.run(line)
    print("$", line, flush=True)
    print((step.out + step.err).strip(), flush=True)
    if required and step.return_code != 0:
        raise UserError(f"offline install failed with code {step.return_code}, see above: is the pack for this Python?")
