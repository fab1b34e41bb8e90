"""`kaggle run-local`: a stage as the platform would run it, on this machine."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from imettk.errors import DataError, UserError
from imettk.kaggle.kernel import Kernel
from imettk.kaggle.pack import DATASET, PackOrder, make_pack
from imettk.kaggle.sandbox import CANCELLED, Mounts, can_isolate, run_session
from imettk.progress import say

OWNER = "your-name"


def run_local(
    stage: str,
    recipe: str,
    data: Path,
    root: Path,
    *,
    inputs: Sequence[Path] = (),
    models: Mapping[str, Path] | None = None,
    arguments: Sequence[str] = (),
    limit_seconds: float | None = None,
    pack: Path | None = None,
) -> int:
    """Run a kernel's script, unmodified, under a folder that takes the place of `/kaggle`; its exit code.

    Args:
        recipe: a built-in name, or a `.py` file.
        data: the competition's folder.
        root: a new folder; what the session leaves is in `working`.
        inputs: outputs of earlier sessions.
        models: folders in the place of Kaggle's models, by owner/model/framework/variation/version.
        limit_seconds: after which the session is killed, as the platform does; the stage is told of it, and stops
            before.
        pack: a pack's folder; without it one is made, without wheels: libraries are those of this Python.

    Raises:
        DataError: `root` is in use, or there is no data.
        UserError: the limit is none.
    """
    _check(data, root, limit_seconds)
    own = Path(recipe) if recipe.endswith(".py") else None
    with tempfile.TemporaryDirectory() as scratch:
        if pack is None:
            pack = Path(scratch, "pack")
            make_pack(pack, PackOrder(recipe=own, wheels=False), owner=OWNER)
        kernel = Kernel(
            reference=f"{OWNER}/imettk-local-{stage}",
            stage=stage,
            recipe=recipe if own is None else own.name,
            competition="data",
            arguments=tuple(arguments) + _limit(limit_seconds),
            models=tuple(models or ()),
        )
        mounts = Mounts(
            datasets={f"{OWNER}/{DATASET}": pack},
            notebooks={f"{OWNER}/input-{number}": folder for number, folder in enumerate(inputs)},
            competitions={"data": data},
            models=models or {},
        )
        return _play(kernel, mounts, root, limit_seconds)


def _check(data: Path, root: Path, limit_seconds: float | None) -> None:
    """Refuse what no session can begin with; errors as in `run_local`."""
    if limit_seconds is not None and not 0 < limit_seconds < math.inf:
        raise UserError(f"--limit-seconds: {limit_seconds:g} must be above 0, and finite")
    if root.exists() and any(root.iterdir()):
        raise DataError(f"{root} is not empty: a session starts in a new folder; give another --run-dir")
    if not data.is_dir():
        raise DataError(f"--data: {data} is no folder")


def _play(kernel: Kernel, mounts: Mounts, root: Path, limit_seconds: float | None) -> int:
    """Run a session to its end and say how it was; the script's exit code."""
    if can_isolate():
        say(f"session in {root}: inputs read-only, no network")
    else:
        say(f"session in {root}: a plain folder (no `unshare` here): inputs are not protected, the network is open")
    ending = run_session(kernel.text(), root, mounts, limit_seconds=limit_seconds)
    for folder in (root / "input", root / "temp"):
        shutil.rmtree(folder, ignore_errors=True)
    if ending.status == CANCELLED:
        say(f"killed at its limit after {ending.seconds:.0f} s; what it left is in {ending.working}")
        return 1
    say(f"{ending.status.lower()} after {ending.seconds:.0f} s; its output is in {ending.working}")
    return ending.code or 0


def _limit(limit_seconds: float | None) -> tuple[str, ...]:
    """Tell the stage of a limit, with a margin that fits a short one."""
    if limit_seconds is None:
        return ()
    margin = min(300.0, limit_seconds / 4)
    return "--session.limit-seconds", f"{limit_seconds:g}", "--session.margin-seconds", f"{margin:g}"
