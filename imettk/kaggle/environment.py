"""Inside a kernel: find what is mounted, install offline, run one stage with its lines shown as they come."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from imettk.config import SESSION_START
from imettk.errors import MissingFileError, UserError
from imettk.kaggle.pack import check_pack

SITE = "imettk-site"  # where wheels are installed, outside of what the platform keeps


def run_stage(
    stage: str,
    recipe: str,
    *,
    competition: str,
    arguments: list[str],
    root: Path,
    pack: Path,
    code: Path,
    started: float,
) -> int:
    """Run one stage as a kernel; returns its exit code.

    Every mounted folder with a `recipe.json` is an earlier kernel's output, and becomes an input. The kernel's working
    folder is the run folder.

    Args:
        recipe: a built-in name, or the name of a `.py` file in the pack.
        competition: slug of the folder with the data.
        root: `/kaggle`.
        code: what to put on the path to import imettk: the zip of the pack, or the folder it was unpacked to.
        started: when the kernel started, on `time.monotonic()`.
    """
    try:
        data = find_mount(root, competition)
        if recipe.endswith(".py"):
            recipe = str(pack / recipe)
        site = _install(check_pack(pack), root)
    except UserError as error:
        print(f"imettk: {error}", file=sys.stderr)
        return 2
    inputs = [str(path.parent) for path in _mounted(root, "recipe.json")]
    command = [
        sys.executable,
        "-u",
        "-m",
        "imettk",
        stage,
        recipe,
        "--data",
        str(data),
        "--run-dir",
        str(root / "working"),
    ]
    command += (["--inputs", *inputs] if inputs else []) + arguments
    paths = [str(code), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), SESSION_START: repr(started)}
    print("$", shlex.join(command), flush=True)
    # Not delegator: with block=True it holds every line back until the stage ends, nine silent hours later.
    return subprocess.run(command, env=environment, check=False).returncode


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
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        str(site),
        *map(str, wheels),
    ]
    _shell(delegator, shlex.join(pip), required=True)
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
